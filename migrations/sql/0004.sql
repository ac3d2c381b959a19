-- Search parameters defined at run time, and the rebuilding of what is derived from resources.
-- docs/adr/0009-search-parameters-at-run-time.md says why it is as it is.

-- What is true of a tenant's index as a whole.
CREATE TABLE index_state (
    tenant  int    PRIMARY KEY,
    version bigint NOT NULL,  -- of the definitions: whoever writes entries by another one must load them again
    writes  int    NOT NULL,  -- the format of the entries that are written
    holds   int    NOT NULL,  -- the format that all entries have; less than `writes` while they are rebuilt
    made    json   NOT NULL   -- the settings by which they were made
);

-- Every SearchParameter resource that is or was active, as it is searched by.
CREATE TABLE search_param (
    tenant     int    NOT NULL,
    id         text   COLLATE "C" NOT NULL,  -- of the resource
    url        text   NOT NULL,
    since      bigint NOT NULL,              -- the version of the definitions that brought this state
    state      text   NOT NULL CHECK (state IN ('building', 'complete', 'dropping')),
    types      text[] NOT NULL,              -- those that it stands on, abstract ones spelled out
    around     text[] NOT NULL DEFAULT '{}', -- those that contain resources of these and are rebuilt for it
    definition json   NOT NULL,
    PRIMARY KEY (tenant, id)
);

-- The rebuilding of a type: a pass over its versions in the order of `rid`.
CREATE TABLE rebuild (
    tenant  int    NOT NULL,
    type    text   NOT NULL,
    wanted  bigint NOT NULL,            -- all entries are to be as this version of the definitions says
    built   bigint NOT NULL,            -- they are as this one says
    format  int    NOT NULL,            -- of the entries that are wanted
    forced  boolean NOT NULL,           -- asked for by `fhirserver reindex`
    spreads boolean NOT NULL,           -- what contains resources of the type is to be rebuilt too
    running bigint,                     -- what the pass under way brings `built` to
    after   bigint NOT NULL DEFAULT 0,  -- the pass goes on after this rid
    upto    bigint NOT NULL DEFAULT 0,  -- and ends with this one
    seen    bigint NOT NULL DEFAULT 0,  -- versions looked at
    total   bigint NOT NULL DEFAULT 0,  -- versions there are, as the planner estimates it
    mended  bigint NOT NULL DEFAULT 0,  -- versions whose entries were not as they should be
    error   text,                       -- why the last try failed
    PRIMARY KEY (tenant, type)
);

-- What is derived from a version can be derived anew; what it says cannot be changed.
DO $$
DECLARE
    p regclass;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fhirserver_app') THEN
        RETURN;
    END IF;
    GRANT SELECT, INSERT, UPDATE, DELETE ON index_state, search_param, rebuild TO fhirserver_app;
    FOR p IN SELECT relid FROM pg_partition_tree('resource') LOOP
        EXECUTE format('GRANT UPDATE (ptk, ord, d_lo, d_hi, compartments, keys) ON %s TO fhirserver_app', p);
    END LOOP;
END
$$;
