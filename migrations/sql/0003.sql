-- Text: the dictionary for `:text`, and the words of resources for `_text` and `_content`. Contained
-- resources, for `_contained`.

-- The texts that codes have, each once: see fhirserver/params/wording.py. No unique index, so that no
-- writer waits for another; a text that two write at once stands here twice.
CREATE TABLE term (
    key      bigint NOT NULL,                     -- of the search parameter on a type
    val      text   COLLATE "C" NOT NULL,         -- folded and bounded
    text_key bigint NOT NULL,                     -- among resource.keys of the rows with this text
    tok_key  bigint,                              -- in tok of the rows with this text; null where no index narrows
    born     xid8   NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX term_key ON term (key, val) INCLUDE (text_key, tok_key, born);

-- The words of a version, those of its narrative with weight A: see fhirserver/params/fulltext.py. Not every
-- version has a row.
CREATE TABLE words (rid bigint PRIMARY KEY, document tsvector NOT NULL);
CREATE INDEX words_document ON words USING gin (document);

-- Contained resources: rows like those of `resource`, which end with the version that contains them, and
-- of that version what its visibility and order depend on. See fhirserver/store/contained.py.
CREATE TABLE contained (
    tenant       int         NOT NULL,
    type         text        NOT NULL,
    rid          bigint      PRIMARY KEY,
    id           text        COLLATE "C" NOT NULL,         -- within the container
    version      int         NOT NULL,                     -- of the container, like `updated` and `method`
    updated      timestamptz NOT NULL,
    method       text        NOT NULL,
    idk          bigint      NOT NULL,                     -- nothing refers to it
    ptk          bigint,
    ord          bigint      NOT NULL,
    d_lo         bigint,
    d_hi         bigint,
    compartments bigint[]    NOT NULL,
    keys         bigint[]    NOT NULL,
    born         xid8        NOT NULL DEFAULT pg_current_xact_id(),
    died         xid8,
    meta         json,
    content      jsonb       NOT NULL,
    written      text,
    container_type         text     NOT NULL,
    container_rid          bigint   NOT NULL,
    container_id           text     COLLATE "C" NOT NULL,
    container_ptk          bigint,
    container_ord          bigint   NOT NULL,
    container_d_lo         bigint,
    container_d_hi         bigint,
    container_compartments bigint[] NOT NULL,
    container_keys         bigint[] NOT NULL
);
CREATE INDEX contained_container ON contained (container_rid);
CREATE INDEX contained_ord ON contained (tenant, type, ord DESC, rid DESC) WHERE died IS NULL;
CREATE INDEX contained_within ON contained (tenant, type, container_ord DESC, container_rid DESC) WHERE died IS NULL;
CREATE INDEX contained_ptk ON contained (ptk) WHERE died IS NULL AND ptk IS NOT NULL;
CREATE INDEX contained_died ON contained (died) WHERE died IS NOT NULL;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'fhirserver_app') THEN
        GRANT SELECT, INSERT, DELETE ON term, words, contained TO fhirserver_app;
        GRANT UPDATE (died) ON contained TO fhirserver_app;
    END IF;
END
$$;
