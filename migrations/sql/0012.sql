-- Merges of Patients, and what refers to them: docs/adr/0019-a-merge-is-one-transaction.md.

CREATE TABLE merge (
    tenant   int         NOT NULL,
    id       text        COLLATE "C" NOT NULL,
    kind     text        NOT NULL,           -- merge, undo (of a merge), or replace (references alone)
    state    text        NOT NULL,           -- accepted, failed, done, or of a merge: undone
    type     text        COLLATE "C" NOT NULL,
    source   text        COLLATE "C" NOT NULL,
    target   text        COLLATE "C" NOT NULL,
    request  json        NOT NULL,           -- what it was asked with, and by whom
    task     text        COLLATE "C",        -- id of the Task that shows how far it has come
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed  bigint      NOT NULL DEFAULT 0, -- version of the definitions since which it is done, or undone
    versions int[],                          -- of source and target, as the merge wrote them
    writers  text[],                         -- transactions that may yet write by what held before, none: not looked for;
                                         -- null: no longer any
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX merge_in_force ON merge (tenant, type, source) WHERE kind = 'merge' AND state = 'done';
CREATE INDEX merge_changed ON merge (tenant, changed) WHERE kind = 'merge' AND state IN ('done', 'undone');
CREATE INDEX merge_open ON merge (tenant, at) WHERE state = 'accepted' OR writers IS NOT NULL;
CREATE INDEX merge_source ON merge (tenant, type, source);
CREATE INDEX merge_target ON merge (tenant, type, target);

-- What a merge moved in a version of a resource or, going back, its undoing: that is never changed. From it and
-- from the versions since, it is known of each reference what its author wrote.
CREATE TABLE merge_move (
    tenant  int     NOT NULL,
    seq     bigint  GENERATED ALWAYS AS IDENTITY,
    merge   text    COLLATE "C" NOT NULL,
    type    text    COLLATE "C" NOT NULL,
    id      text    COLLATE "C" NOT NULL,
    version int     NOT NULL,
    back    boolean NOT NULL,
    places  json    NOT NULL,                -- JSON pointer and what it said before, of each that was moved
    PRIMARY KEY (tenant, type, id, version, seq),
    FOREIGN KEY (tenant, merge) REFERENCES merge ON DELETE CASCADE
);
CREATE INDEX merge_move_of ON merge_move (tenant, merge, type, id, seq);

DO $$
BEGIN
    IF (SELECT count(*) FROM pg_roles WHERE rolname IN ('fhirserver_app', 'fhirserver_jobs')) < 2 THEN
        RETURN;
    END IF;
    GRANT SELECT, INSERT, UPDATE, DELETE ON merge, merge_move TO fhirserver_app;
    PERFORM isolate('merge');
    PERFORM isolate('merge_move');
END
$$;
