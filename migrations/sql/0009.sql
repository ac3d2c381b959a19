-- Identifiers that only one resource of a tenant may have: docs/how-to/identifiers.md. Both tables are derived,
-- the systems from NamingSystem, the claims from the resources that are current.

CREATE TABLE identifier_system (
    tenant    int     NOT NULL,
    type      text    COLLATE "C" NOT NULL,  -- Patient, Practitioner, Organization or Location
    system    text    COLLATE "C" NOT NULL,  -- as it stands in Identifier.system
    canonical text    COLLATE "C" NOT NULL,  -- the name under which values are compared
    is_unique boolean NOT NULL,
    "check"   text    COLLATE "C",           -- the name of the check digits
    PRIMARY KEY (tenant, type, system)
);

CREATE TABLE identifier_claim (
    tenant int   NOT NULL,
    type   text  COLLATE "C" NOT NULL,
    key    bytea NOT NULL,                   -- of canonical system and value
    id     text  COLLATE "C" NOT NULL,       -- whose it is
    replaced_by text COLLATE "C",            -- the id of the one that stands in its place
    PRIMARY KEY (tenant, type, key, id)
);
CREATE UNIQUE INDEX identifier_claim_key ON identifier_claim (tenant, type, key) WHERE replaced_by IS NULL;
CREATE INDEX identifier_claim_id ON identifier_claim (tenant, type, id);

-- The version of the definitions since which the systems are what they are.
ALTER TABLE index_state ADD COLUMN identifiers int NOT NULL DEFAULT 0;

-- As fhirserver/identity/unique.py makes keys: white space around a value, how much of it is within, and what
-- nobody sees do not count.
CREATE FUNCTION identifier_key(canonical text, value text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT substring(sha256(convert_to(canonical || chr(31) || btrim(regexp_replace(
        regexp_replace(value, '[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]', '', 'g'),
        '[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+', ' ', 'g'), ' '),
    'UTF8')) FOR 16)
$$;

-- The id of the Patient that a Patient's links say stands in its place; as unique.py tells it.
CREATE FUNCTION replaced_by(id text, links jsonb) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT found[1] FROM jsonb_array_elements(links) WITH ORDINALITY AS l(link, place)
    CROSS JOIN LATERAL regexp_match(
        link->'other'->>'reference', '^(?:.*/)?Patient/([A-Za-z0-9.-]{1,64})(?:/_history/[^/#]+)?(?:#.*)?$') AS found
    WHERE link->>'type' = 'replaced-by' AND found[1] <> id ORDER BY place LIMIT 1
$$;

-- Lets nobody write resources of a type until the transaction ends, once those who do are done: so the claims
-- that are made meanwhile are of all that there is.
CREATE FUNCTION hold_writers(type text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    IF type NOT IN ('Patient', 'Practitioner', 'Organization', 'Location') THEN
        RAISE EXCEPTION 'identifiers of % are never unique', type;
    END IF;
    EXECUTE format('LOCK TABLE public.%I IN SHARE ROW EXCLUSIVE MODE', 'resource_' || lower(type));
END
$$;
REVOKE EXECUTE ON FUNCTION hold_writers(text) FROM PUBLIC;

DO $$
BEGIN
    IF (SELECT count(*) FROM pg_roles WHERE rolname IN ('fhirserver_app', 'fhirserver_jobs')) < 2 THEN
        RETURN;
    END IF;
    GRANT SELECT, INSERT, UPDATE, DELETE ON identifier_system, identifier_claim TO fhirserver_app;
    GRANT EXECUTE ON FUNCTION identifier_key(text, text), replaced_by(text, jsonb) TO fhirserver_app;
    GRANT EXECUTE ON FUNCTION hold_writers(text) TO fhirserver_app;
    PERFORM isolate('identifier_system');
    PERFORM isolate('identifier_claim');
END
$$;
