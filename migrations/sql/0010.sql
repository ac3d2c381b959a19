-- Most rows are decided by a look into an index: a denial takes a rule that denies to who asks, a permission one
-- that permits. Rules about somebody else, or another type, are no reason to look at what a row says.

DROP INDEX consent_rule_patient;
CREATE INDEX consent_rule_patient ON consent_rule (patient, permit);

-- Whether a rule is about who asks for what: for sure, perhaps (null) or not. Nothing of the data is looked at.
CREATE FUNCTION consent_asks(r consent_rule, does text, may text[], actors_ bigint[], purposes_ text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT ('rule' <> ALL (r.vague) OR NULL)
        AND (r.actors IS NULL OR r.actors && actors_ OR ('actors' = ANY (r.vague) AND NULL))
        AND (r.actions IS NULL OR does = ANY (r.actions)
        OR ((r.actions && may OR 'actions' = ANY (r.vague)) AND NULL))
        AND (r.purposes IS NULL OR r.purposes && purposes_ OR ('purposes' = ANY (r.vague) AND NULL))
$$;

-- Whether a rule can be about resources of a type: not one of other types alone.
CREATE FUNCTION consent_is_of(r consent_rule, type text) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT r.classes IS NULL OR 'type:' || type = ANY (r.classes) OR 'classes' = ANY (r.vague)
        OR r.classes::text ~ '(profile|format|code):'
$$;

-- What the consents of patients and the policies of the organisation say of a resource: for each patient whose
-- consents decide (null: the policies) whether they permit. A node matches for sure, perhaps (null) or not; a
-- denial is reached over nodes that perhaps match, a permission over those that do so for sure. The deepest node
-- that is reached decides for its consent, and denies if there are several that disagree.
CREATE OR REPLACE FUNCTION consent_decisions(
    tenant_ int, does text, may text[], actors_ bigint[], purposes_ text[], breaks_glass boolean, at bigint,
    type_ text, id_ text, patients bigint[], lo bigint, hi bigint, meta_ json, content_ jsonb
) RETURNS TABLE (version bigint, whose bigint, by_node int, decided boolean)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    meta jsonb := meta_;
    r consent_rule;
    matches boolean;
    surely int[];
    perhaps int[];
    above int;
    deepest int;
BEGIN
    FOR r IN
        SELECT k.* FROM unnest(patients) AS p(key)
        CROSS JOIN LATERAL (SELECT * FROM consent_rule x WHERE x.patient = p.key OFFSET 0) k
        UNION ALL
        SELECT * FROM consent_rule k WHERE k.tenant = tenant_ AND k.patient IS NULL
        ORDER BY rid, node
    LOOP
        IF r.node = 0 THEN
            IF decided IS NOT NULL THEN
                RETURN NEXT;
            END IF;
            decided := NULL;
            deepest := -1;
            surely := '{}';
            perhaps := '{}';
            version := r.rid;
            whose := r.patient;
            -- In force is what was before this transaction: nobody lets themselves in by what they write.
            IF NOT EXISTS (
                SELECT FROM resource_consent c
                WHERE c.rid = r.rid AND c.tenant = tenant_
                  AND (c.died IS NULL OR c.died = pg_current_xact_id_if_assigned())
                  AND c.born IS DISTINCT FROM pg_current_xact_id_if_assigned()
            ) THEN
                CONTINUE;
            END IF;
        END IF;
        above := r.path[cardinality(r.path) - 1];
        CONTINUE WHEN above IS NOT NULL AND above <> ALL (perhaps);
        matches :=
            r.starts <= at AND at < r.ends AND consent_asks(r, does, may, actors_, purposes_)
            AND (r.level IS NULL OR CASE WHEN NOT r.permit THEN consent_level(meta) >= r.level
            ELSE consent_level(meta) <= r.level END)
            AND (r.labels IS NULL OR r.labels && consent_labels(meta) OR ('labels' = ANY (r.vague) AND NULL))
            AND (r.classes IS NULL OR consent_class(r.classes, type_, meta, content_)
            OR ('classes' = ANY (r.vague) AND NULL))
            AND (r.codes IS NULL OR r.codes && consent_codes(content_) OR ('codes' = ANY (r.vague) AND NULL))
            AND (r.authors IS NULL OR r.authors && consent_authors(content_) OR ('authors' = ANY (r.vague) AND NULL))
            AND (r.custodians IS NULL OR r.custodians && consent_custodians(content_)
            OR ('custodians' = ANY (r.vague) AND NULL))
            AND CASE WHEN r.data_lo IS NULL OR (r.data_lo <= lo AND hi <= r.data_hi) THEN true
            WHEN lo < r.data_hi AND r.data_lo < hi THEN NULL
            WHEN lo IS NULL OR hi IS NULL THEN NULL ELSE false END
            AND (r.data IS NULL OR consent_data(r.data, tenant_, type_, id_, content_)
            OR ('data' = ANY (r.vague) AND NULL));
        CONTINUE WHEN NOT matches;
        perhaps := perhaps || r.node;
        IF matches AND (above IS NULL OR above = ANY (surely)) THEN
            surely := surely || r.node;
        ELSIF r.permit THEN
            CONTINUE;
        END IF;
        CONTINUE WHEN r.permit IS NULL OR cardinality(r.path) < deepest;
        CONTINUE WHEN breaks_glass AND NOT r.permit AND NOT coalesce(
            'http://terminology.hl7.org/CodeSystem/v3-ActReason|BTG' = ANY (r.purposes), false);
        IF cardinality(r.path) > deepest OR NOT r.permit THEN
            deepest := cardinality(r.path);
            decided := r.permit;
            by_node := r.node;
        END IF;
    END LOOP;
    IF decided IS NOT NULL THEN
        RETURN NEXT;
    END IF;
END
$$;
