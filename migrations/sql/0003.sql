-- Text: the dictionary for `:text`, and the words of resources for `_text` and `_content`.

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

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'fhirserver_app') THEN
        GRANT SELECT, INSERT, DELETE ON term, words TO fhirserver_app;
    END IF;
END
$$;
