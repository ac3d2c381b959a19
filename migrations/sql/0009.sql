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
    PRIMARY KEY (tenant, type, key)
);
CREATE INDEX identifier_claim_id ON identifier_claim (tenant, type, id);

-- The version of the definitions since which the systems are what they are.
ALTER TABLE index_state ADD COLUMN identifiers int NOT NULL DEFAULT 0;

-- As fhirserver/identity/unique.py makes keys.
CREATE FUNCTION identifier_key(canonical text, value text) RETURNS bytea
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT substring(sha256(convert_to(canonical || chr(31) || value, 'UTF8')) FOR 16)
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
    GRANT EXECUTE ON FUNCTION identifier_key(text, text) TO fhirserver_app;
    GRANT EXECUTE ON FUNCTION hold_writers(text) TO fhirserver_app;
    PERFORM isolate('identifier_system');
    PERFORM isolate('identifier_claim');
END
$$;
