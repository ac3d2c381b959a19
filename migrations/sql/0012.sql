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
    at       timestamptz NOT NULL DEFAULT now(), -- before all that it writes
    changed  bigint      NOT NULL DEFAULT 0, -- version of the definitions since which it is done, or undone
    versions int[],                          -- of source and target, as the merge wrote them
    writers  text[],                         -- transactions that may yet write by what held before, none: not looked for;
                                         -- null: no longer any
    source_key bigint    NOT NULL,           -- keys of source and target
    target_key bigint    NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE UNIQUE INDEX merge_in_force ON merge (tenant, type, source) WHERE kind = 'merge' AND state = 'done';
CREATE INDEX merge_changed ON merge (tenant, changed) WHERE kind = 'merge' AND state IN ('done', 'undone');
CREATE INDEX merge_open ON merge (tenant, at) WHERE state = 'accepted' OR writers IS NOT NULL;
CREATE INDEX merge_source ON merge (tenant, type, source);
CREATE INDEX merge_target ON merge (tenant, type, target);
CREATE INDEX merge_stood_for ON merge (source_key) WHERE kind = 'merge' AND state = 'done';
CREATE INDEX merge_undone ON merge (target_key) WHERE kind = 'merge' AND state = 'undone';

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

-- Whose consents are about a row that is about these: consents are about a person. Who was merged stands with who
-- stands for them; and what a version that is no longer current (`past`) said of somebody since a merge that was
-- undone may be about the other one, like all that was written since as long as the undoing waits for writers.
CREATE FUNCTION consent_persons(patients bigint[], updated_ timestamptz, past boolean) RETURNS bigint[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found bigint[] := patients;
    more bigint[];
BEGIN
    LOOP
        more := ARRAY(
            SELECT m.target_key FROM merge m
            WHERE m.source_key = ANY (found) AND m.target_key <> ALL (found)
              AND m.kind = 'merge' AND m.state = 'done'
            UNION
            SELECT m.source_key FROM merge m
            WHERE m.target_key = ANY (found) AND m.source_key <> ALL (found)
              AND m.kind = 'merge' AND m.state = 'undone' AND m.at <= updated_
              AND (past OR EXISTS (
                  SELECT FROM merge u
                  WHERE u.kind = 'undo' AND u.writers IS NOT NULL
                    AND u.source_key = m.source_key AND u.target_key = m.target_key)));
        EXIT WHEN more = '{}';
        found := found || more;
    END LOOP;
    RETURN found;
END
$$;

-- Whether they permit it. By default: if none denies. Otherwise each patient whose it is has to permit it, or
-- a policy; who is no Patient here permits nothing. In force is what was before this transaction: nobody lets
-- themselves in by what they write. Who was merged permits what the one who stands for them does. To plan it anew
-- for each row would take most of the time, so it is not in SQL.
CREATE FUNCTION consented(
    tenant_ int, by_default boolean, does text, may text[], actors_ bigint[], purposes_ text[], breaks_glass boolean,
    at bigint, type_ text, id_ text, patients bigint[], lo bigint, hi bigint, meta_ json, content_ jsonb
) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    one consent_decision;
    own xid8 := pg_current_xact_id_if_assigned();
    by_policy boolean := by_default;
    permitted bigint[] := '{}';
BEGIN
    FOREACH one IN ARRAY consent_said(tenant_, does, may, actors_, purposes_, breaks_glass, at, type_, id_, patients,
                                      lo, hi, meta_, content_)
    LOOP
        CONTINUE WHEN by_default AND one.decided;
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM resource_consent c
            WHERE c.rid = one.version AND c.tenant = tenant_ AND (c.died IS NULL OR c.died = own)
              AND c.born IS DISTINCT FROM own);
        IF NOT one.decided THEN
            RETURN false;
        END IF;
        by_policy := by_policy OR one.whose IS NULL;
        permitted := permitted || one.whose;
    END LOOP;
    IF by_policy THEN
        RETURN true;
    END IF;
    RETURN coalesce((
        SELECT bool_and(k = ANY (permitted)) FROM unnest(patients) AS k
        WHERE EXISTS (SELECT FROM resource_patient p WHERE p.tenant = tenant_ AND p.idk = k AND p.died IS NULL)
          AND NOT EXISTS (SELECT FROM merge m WHERE m.source_key = k AND m.kind = 'merge' AND m.state = 'done')), false);
END
$$;

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
