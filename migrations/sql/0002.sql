-- Secrets, grants and what is used once: never in history, search or export. Durable facts about people
-- (Person, PractitionerRole, CareTeam) are FHIR resources. Of secrets that a client or browser holds only
-- SHA-256 hashes are kept here, of passwords argon2id.
CREATE SCHEMA auth;

-- OAuth clients: RFC 7591 metadata.
CREATE TABLE auth.client (
    tenant   int         NOT NULL,
    id       text        NOT NULL,
    status   text        NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'approved', 'disabled')),
    metadata jsonb       NOT NULL,
    secret   bytea,                                        -- SHA-256 of 256 random bits
    created  timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed  timestamptz NOT NULL DEFAULT clock_timestamp(), -- the metadata
    registration bytea,                                    -- SHA-256 of the registration access token, RFC 7592
    PRIMARY KEY (tenant, id)
);

-- Who signs in; `person` is the id of the Person resource that says who that is. `disabled` and `links` are
-- kept by triggers on that resource: it alone says who is active and whom an account stands for.
CREATE TABLE auth.account (
    id       bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant   int         NOT NULL,
    login    text        NOT NULL,                         -- lower case, NFKC
    person   text        NOT NULL,
    password text,                                         -- argon2id, or a legacy hash until the next sign-in
    totp     text,                                         -- the secret of the second step, sealed
    totp_at  bigint,                                       -- the last time step that was used
    disabled boolean     NOT NULL DEFAULT false,           -- Person.active is false, or the Person is deleted
    links    text[]      NOT NULL DEFAULT '{}',            -- Person.link.target: Practitioner/1, Patient/2
    must_change boolean  NOT NULL DEFAULT false,
    seen     timestamptz,                                  -- last sign-in
    seen_before timestamptz,                               -- the one before
    created  timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE (tenant, login),
    UNIQUE (tenant, person)
);
CREATE INDEX account_links ON auth.account USING gin (links);

-- Failed attempts, known names and unknown ones alike; `key` is a MAC of what was tried.
CREATE TABLE auth.attempt (
    tenant   int         NOT NULL,
    key      bytea       NOT NULL,
    failures int         NOT NULL,
    failed   timestamptz NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX attempt_failed ON auth.attempt (failed);

CREATE TABLE auth.session (
    hash    bytea       PRIMARY KEY,
    account bigint      NOT NULL REFERENCES auth.account ON DELETE CASCADE,
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    used    timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires timestamptz NOT NULL
);
CREATE INDEX session_account ON auth.session (account);

-- What somebody let a client do, or what a backend client may: every token belongs to one.
CREATE TABLE auth.grant_ (
    id      bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    tenant  int         NOT NULL,
    client  text        NOT NULL,
    account bigint      REFERENCES auth.account ON DELETE CASCADE,
    session bytea       REFERENCES auth.session ON DELETE CASCADE,  -- set for online access: ends with it
    scopes  text[]      NOT NULL,
    context jsonb       NOT NULL DEFAULT '{}',             -- patient, encounter, fhirContext, intent, nonce, ...
    consent text,                                          -- id of the Consent resource that records it
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires timestamptz NOT NULL,
    revoked timestamptz,
    FOREIGN KEY (tenant, client) REFERENCES auth.client ON DELETE CASCADE
);
CREATE INDEX grant_account ON auth.grant_ (account);
CREATE INDEX grant_expires ON auth.grant_ (expires);
CREATE INDEX grant_client ON auth.grant_ (tenant, client);
CREATE INDEX grant_consent ON auth.grant_ (tenant, consent) WHERE consent IS NOT NULL;

-- Authorization codes: kept as long as their grant, so that using one again is recognised.
CREATE TABLE auth.code (
    hash         bytea       PRIMARY KEY,
    grant_       bigint      NOT NULL REFERENCES auth.grant_ ON DELETE CASCADE,
    redirect_uri text        NOT NULL,
    challenge    text        NOT NULL,                     -- S256
    expires      timestamptz NOT NULL,
    used         timestamptz
);
CREATE INDEX code_grant ON auth.code (grant_);

-- Refresh tokens: each is used once; one that comes again revokes its grant.
CREATE TABLE auth.refresh (
    hash    bytea       PRIMARY KEY,
    grant_  bigint      NOT NULL REFERENCES auth.grant_ ON DELETE CASCADE,
    issued  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires timestamptz NOT NULL,
    used    timestamptz
);
CREATE INDEX refresh_grant ON auth.refresh (grant_);

-- What is used once and then remembered until it would have expired: assertion ids, launches, password
-- resets, invitations. `kind` and `value` say what for.
CREATE TABLE auth.once (
    kind    text        NOT NULL,
    hash    bytea       NOT NULL,
    tenant  int         NOT NULL,
    value   jsonb       NOT NULL DEFAULT '{}',
    expires timestamptz NOT NULL,
    used    timestamptz,
    PRIMARY KEY (kind, hash)
);
CREATE INDEX once_expires ON auth.once (expires);

-- Signing keys of id tokens: `private` is a JWK, encrypted with a secret of the table `server`.
CREATE TABLE auth.key (
    kid     text        PRIMARY KEY,
    alg     text        NOT NULL,
    private bytea       NOT NULL,
    created timestamptz NOT NULL DEFAULT clock_timestamp(),
    retired timestamptz
);

-- Seals access tokens and encrypts signing keys.
INSERT INTO server VALUES ('token_secret', uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

-- Whether what was granted still holds; one look-up, made inside the statements that read data.
CREATE FUNCTION granted(bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
    SELECT EXISTS (
        SELECT FROM auth.grant_ g
        JOIN auth.client c ON c.tenant = g.tenant AND c.id = g.client
        LEFT JOIN auth.account a ON a.id = g.account
        LEFT JOIN auth.session s ON s.hash = g.session
        WHERE g.id = $1 AND g.revoked IS NULL AND g.expires > statement_timestamp()
          AND c.status = 'approved' AND NOT coalesce(a.disabled, false)
          AND (g.session IS NULL OR s.expires > statement_timestamp())
    )
$$;

-- A Consent that records a grant ends it when it is made inactive or deleted, by whatever way.
CREATE FUNCTION auth.consent_ends_grant() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
    UPDATE auth.grant_ SET revoked = clock_timestamp()
    WHERE tenant = NEW.tenant AND consent = NEW.id AND revoked IS NULL;
    RETURN NULL;
END
$$;
CREATE TRIGGER consent_ends_grant AFTER INSERT ON resource_consent FOR EACH ROW
WHEN (NEW.content IS NULL OR NEW.content->>'status' <> 'active') EXECUTE FUNCTION auth.consent_ends_grant();

-- Whom a Person links to.
CREATE FUNCTION auth.links_of(content jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(array_agg(DISTINCT reference ORDER BY reference), '{}')
    FROM (SELECT link #>> '{target,reference}' AS reference
          FROM jsonb_array_elements(coalesce(content -> 'link', '[]')) AS link) AS l
    WHERE reference IS NOT NULL
$$;

-- Whoever writes a Person, by whatever way, ends what its account may no longer do in the same transaction.
CREATE FUNCTION auth.person_written() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    ended boolean := NEW.content IS NULL OR coalesce(NEW.content -> 'active' = 'false', false);
    linked text[] := auth.links_of(NEW.content);
    one record;
BEGIN
    SELECT id, links INTO one FROM auth.account WHERE tenant = NEW.tenant AND person = NEW.id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    UPDATE auth.account SET disabled = ended, links = linked WHERE id = one.id;
    IF ended THEN
        DELETE FROM auth.session WHERE account = one.id;
    END IF;
    IF ended OR linked <> one.links THEN
        UPDATE auth.grant_ SET revoked = clock_timestamp() WHERE account = one.id AND revoked IS NULL;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER person_written AFTER INSERT ON resource_person
FOR EACH ROW EXECUTE FUNCTION auth.person_written();

-- What gives roles has changed: what was granted by accounts that may lose one is asked for again.
CREATE FUNCTION auth.role_written() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    parts text[] := '{practitioner,code,active,period,patient}';
    before jsonb;
BEGIN
    EXECUTE format('SELECT content FROM %I WHERE tenant = $1 AND id = $2 AND version = $3', TG_TABLE_NAME)
    INTO before USING NEW.tenant, NEW.id, NEW.version - 1;
    IF NEW.content IS NOT NULL AND (
        SELECT bool_and(before -> part IS NOT DISTINCT FROM NEW.content -> part) FROM unnest(parts) AS part
    ) THEN
        RETURN NULL;
    END IF;
    UPDATE auth.grant_ SET revoked = clock_timestamp()
    WHERE revoked IS NULL AND account IN (
        SELECT id FROM auth.account WHERE tenant = NEW.tenant
        AND links && ARRAY[NEW.type || '/' || NEW.id, before #>> '{practitioner,reference}']
    );
    RETURN NULL;
END
$$;

CREATE TRIGGER role_written AFTER INSERT ON resource_practitionerrole
FOR EACH ROW WHEN (NEW.version > 1) EXECUTE FUNCTION auth.role_written();
CREATE TRIGGER role_written AFTER INSERT ON resource_practitioner
FOR EACH ROW WHEN (NEW.version > 1) EXECUTE FUNCTION auth.role_written();
CREATE TRIGGER role_written AFTER INSERT ON resource_relatedperson
FOR EACH ROW WHEN (NEW.version > 1) EXECUTE FUNCTION auth.role_written();

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'fhirserver_app') THEN
        GRANT USAGE ON SCHEMA auth TO fhirserver_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA auth TO fhirserver_app;
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA auth TO fhirserver_app;
        GRANT EXECUTE ON FUNCTION auth.links_of(jsonb) TO fhirserver_app;
        GRANT EXECUTE ON FUNCTION granted(bigint) TO fhirserver_app;
    END IF;
END
$$;
