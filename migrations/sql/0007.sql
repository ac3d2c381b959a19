-- Packages that are installed. The resources that they brought are resources like others; here stands which
-- of them belong to what: docs/how-to/packages.md.

CREATE TABLE package (
    tenant    int         NOT NULL,
    name      text        COLLATE "C" NOT NULL,
    version   text        COLLATE "C" NOT NULL,
    title     text,
    canonical text,
    digest    text        NOT NULL,          -- SHA-256 of the archive
    whole     boolean     NOT NULL,          -- false: as far as other packages refer to it
    asked     boolean     NOT NULL,          -- installed for itself, not only for others
    examples  boolean     NOT NULL,
    installed timestamptz NOT NULL DEFAULT clock_timestamp(),
    needs     text[]      NOT NULL,          -- packages that it depends on and that are here, name@version
    without   text[]      NOT NULL,          -- what it depends on and was installed without, name@version as asked for
    left_out  text[]      NOT NULL,          -- canonical URLs of what it has and was not installed
    announced json        NOT NULL,          -- what the CapabilityStatement says of it
    PRIMARY KEY (tenant, name, version)
);

CREATE TABLE package_resource (
    tenant    int     NOT NULL,
    package   text    COLLATE "C" NOT NULL,
    version   text    COLLATE "C" NOT NULL,
    type      text    COLLATE "C" NOT NULL,
    id        text    COLLATE "C" NOT NULL,  -- of the resource here; in the package it may have another
    canonical text    COLLATE "C" NOT NULL,  -- url|version, or [type]/[id] of what has none
    written   bigint  NOT NULL,              -- its version when a package was installed last; a later one is somebody's change
    found     boolean NOT NULL,              -- it was here before any package brought it
    PRIMARY KEY (tenant, package, version, type, id),
    FOREIGN KEY (tenant, package, version) REFERENCES package ON DELETE CASCADE
);
CREATE INDEX package_resource_canonical ON package_resource (tenant, canonical);
CREATE INDEX package_resource_id ON package_resource (tenant, type, id);

DO $$
BEGIN
    IF (SELECT count(*) FROM pg_roles WHERE rolname IN ('fhirserver_app', 'fhirserver_jobs')) < 2 THEN
        RETURN;
    END IF;
    GRANT SELECT, INSERT, UPDATE, DELETE ON package, package_resource TO fhirserver_app;
    PERFORM isolate('package');
    PERFORM isolate('package_resource');
END
$$;
