-- The rules of consents in force, one for each node of a Consent's provisions, and what decides by them:
-- docs/explanation/consent.md. Like all that is derived they belong to a version, `rid`, and end with it.

CREATE TABLE consent_rule (
    tenant     int      NOT NULL,
    rid        bigint   NOT NULL,  -- of the version of the Consent
    node       int      NOT NULL,  -- 0 is the base
    path       int[]    NOT NULL,  -- from the base down to this node: all have to match
    patient    bigint,             -- key of whose consent it is; null: a policy of the organisation
    permit     boolean,            -- null: the node says nothing itself
    starts     bigint   NOT NULL,  -- in force in [starts, ends), in us
    ends       bigint   NOT NULL,
    vague      text[]   NOT NULL,  -- criteria that perhaps match whatever they do not; rule: the node itself
    actors     bigint[],           -- keys of who asks
    authors    text[],             -- Type/id of who made the data
    custodians text[],             -- Type/id of who keeps the data
    actions    text[],
    purposes   text[],             -- system|code, like labels and codes
    level      int,                -- confidentiality, 1 (U) to 6 (V)
    labels     text[],
    classes    text[],             -- type:, profile:, format: or code: and what follows
    codes      text[],
    data_lo    bigint,             -- data of [data_lo, data_hi), in us
    data_hi    bigint,
    data       text[],             -- a meaning, a space and Type/id
    PRIMARY KEY (rid, node)
);
CREATE INDEX consent_rule_patient ON consent_rule (patient) WHERE patient IS NOT NULL;
CREATE INDEX consent_rule_policy ON consent_rule (tenant) WHERE patient IS NULL;

-- Everything that a resource refers to, as Type/id; null where its content is not there.
CREATE FUNCTION consent_references(content jsonb, VARIADIC paths jsonpath[]) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN content IS NOT NULL THEN ARRAY(
        SELECT split_part(found #>> '{}', '/_history/', 1)
        FROM unnest(paths) AS path, jsonb_path_query(content, path) AS found
        WHERE jsonb_typeof(found) = 'string') END
$$;

-- The codes in a resource as system|code; null where it has none.
CREATE FUNCTION consent_codes(content jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg((found ->> 'system') || '|' || (found ->> 'code'))
    FROM jsonb_path_query(content, '$.** ? (exists(@.system) && exists(@.code) && !exists(@.value))') AS found
$$;

-- Whether a resource is of one of the classes; null where it does not say.
CREATE FUNCTION consent_class(classes text[], type text, meta jsonb, content jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    unknown boolean := false;
    named text[];
BEGIN
    IF 'type:' || type = ANY (classes) THEN
        RETURN true;
    END IF;
    named := ARRAY(SELECT substr(c, 9) FROM unnest(classes) AS c WHERE starts_with(c, 'profile:'));
    IF named <> '{}' THEN
        IF meta -> 'profile' IS NULL THEN
            unknown := true;
        ELSIF EXISTS (SELECT FROM jsonb_array_elements_text(meta -> 'profile') AS p
                      WHERE p = ANY (named) OR split_part(p, '|', 1) = ANY (named)) THEN
            RETURN true;
        END IF;
    END IF;
    named := ARRAY(SELECT substr(c, 8) FROM unnest(classes) AS c WHERE starts_with(c, 'format:'));
    IF named <> '{}' THEN
        IF content IS NULL OR NOT jsonb_path_exists(content, '$.**.contentType') THEN
            unknown := true;
        ELSIF EXISTS (SELECT FROM jsonb_path_query(content, '$.**.contentType') AS f WHERE f #>> '{}' = ANY (named)) THEN
            RETURN true;
        END IF;
    END IF;
    named := ARRAY(SELECT substr(c, 6) FROM unnest(classes) AS c WHERE starts_with(c, 'code:'));
    IF named <> '{}' THEN
        CASE consent_codes(content) && named
            WHEN true THEN RETURN true;
            WHEN false THEN NULL;
            ELSE unknown := true;
        END CASE;
    END IF;
    RETURN CASE WHEN unknown THEN NULL ELSE false END;
END
$$;

-- Whether a resource is what one of `data` leads to; null where it does not say. What a resource that is named
-- refers to counts as it was last, even if that has been deleted since.
CREATE FUNCTION consent_data(data text[], tenant_ int, type_ text, id_ text, content jsonb, authors text[])
RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    here text := type_ || '/' || id_;
    unknown boolean := false;
    one text;
    meaning text;
    there text;
    found boolean;
BEGIN
    FOREACH one IN ARRAY data LOOP
        meaning := split_part(one, ' ', 1);
        there := split_part(one, ' ', 2);
        IF meaning <> 'authoredby' AND there = here THEN
            RETURN true;
        END IF;
        found := CASE meaning
            WHEN 'related' THEN EXISTS (
                SELECT FROM (
                    SELECT d.content FROM resource d
                    WHERE d.tenant = tenant_ AND d.type = split_part(there, '/', 1) AND d.id = split_part(there, '/', 2)
                      AND d.content IS NOT NULL
                    ORDER BY d.version DESC LIMIT 1
                ) l WHERE here = ANY (consent_references(l.content, '$.**.reference')))
            WHEN 'dependents' THEN there = ANY (consent_references(content, '$.**.reference'))
            WHEN 'authoredby' THEN there = ANY (authors)
            ELSE false
        END;
        IF found THEN
            RETURN true;
        END IF;
        unknown := unknown OR found IS NULL;
    END LOOP;
    RETURN CASE WHEN unknown THEN NULL ELSE false END;
END
$$;

-- What the consents of patients and the policies of the organisation say of a resource: for each patient whose
-- consents decide (null: the policies) whether they permit. A node matches for sure, perhaps (null) or not; a
-- denial is reached over nodes that perhaps match, a permission over those that do so for sure. The deepest node
-- that is reached decides for its consent, and denies if there are several that disagree.
CREATE FUNCTION consent_decisions(
    tenant_ int, does text, may text[], actors_ bigint[], purposes_ text[], breaks_glass boolean, at bigint,
    type_ text, id_ text, patients bigint[], lo bigint, hi bigint, meta_ json, content_ jsonb
) RETURNS TABLE (rid bigint, patient bigint, node int, permit boolean)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    meta_b jsonb := meta_;
    security jsonb := meta_b -> 'security';
    level_ int;
    labels_ text[];
    authors_ text[];
    custodians_ text[];
    codes_ text[];
BEGIN
    IF security IS NOT NULL THEN
        SELECT max(array_position('{U,L,M,N,R,V}', s ->> 'code')) INTO level_
        FROM jsonb_array_elements(security) AS s
        WHERE s ->> 'system' = 'http://terminology.hl7.org/CodeSystem/v3-Confidentiality';
        labels_ := ARRAY(SELECT (s ->> 'system') || '|' || (s ->> 'code') FROM jsonb_array_elements(security) AS s);
    END IF;
    authors_ := nullif(consent_references(
        content_, '$.author.reference', '$.performer.reference', '$.performer.actor.reference', '$.recorder.reference',
        '$.asserter.reference', '$.requester.reference', '$.enterer.reference', '$.informationSource.reference',
        '$.sender.reference', '$.agent.who.reference', '$.prescriber.reference'), '{}');
    custodians_ := nullif(consent_references(
        content_, '$.custodian.reference', '$.managingOrganization.reference', '$.serviceProvider.reference'), '{}');
    codes_ := consent_codes(content_);
    RETURN QUERY
    WITH rule AS MATERIALIZED (
        SELECT r.*,
               r.starts <= at AND at < r.ends
               AND CASE WHEN 'rule' = ANY (r.vague) THEN NULL ELSE true END
               AND (r.actors IS NULL OR r.actors && actors_ OR ('actors' = ANY (r.vague) AND NULL))
               AND (r.actions IS NULL OR does = ANY (r.actions)
                    OR ((r.actions && may OR 'actions' = ANY (r.vague)) AND NULL))
               AND (r.purposes IS NULL OR r.purposes && purposes_ OR ('purposes' = ANY (r.vague) AND NULL))
               AND (r.level IS NULL OR CASE WHEN NOT r.permit THEN level_ >= r.level ELSE level_ <= r.level END)
               AND (r.labels IS NULL OR r.labels && labels_ OR ('labels' = ANY (r.vague) AND NULL))
               AND (r.classes IS NULL OR consent_class(r.classes, type_, meta_b, content_)
                    OR ('classes' = ANY (r.vague) AND NULL))
               AND (r.codes IS NULL OR r.codes && codes_ OR ('codes' = ANY (r.vague) AND NULL))
               AND (r.authors IS NULL OR r.authors && authors_ OR ('authors' = ANY (r.vague) AND NULL))
               AND (r.custodians IS NULL OR r.custodians && custodians_ OR ('custodians' = ANY (r.vague) AND NULL))
               AND CASE WHEN r.data_lo IS NULL OR (r.data_lo <= lo AND hi <= r.data_hi) THEN true
                        WHEN lo < r.data_hi AND r.data_lo < hi THEN NULL
                        WHEN lo IS NULL OR hi IS NULL THEN NULL ELSE false END
               AND (r.data IS NULL OR consent_data(r.data, tenant_, type_, id_, content_, authors_)
                    OR ('data' = ANY (r.vague) AND NULL)) AS matches
        FROM consent_rule r JOIN resource_consent c ON c.rid = r.rid
        WHERE r.tenant = tenant_ AND (r.patient = ANY (patients) OR r.patient IS NULL)
          AND (c.died IS NULL OR c.died = pg_current_xact_id_if_assigned())
          AND c.born IS DISTINCT FROM pg_current_xact_id_if_assigned()
    ), reach AS (
        SELECT m.rid, array_agg(m.node) FILTER (WHERE m.matches) AS surely,
               array_agg(m.node) FILTER (WHERE m.matches IS NOT FALSE) AS perhaps
        FROM rule m GROUP BY m.rid
    )
    SELECT DISTINCT ON (n.rid) n.rid, n.patient, n.node, n.permit
    FROM rule n JOIN reach USING (rid)
    WHERE n.path <@ CASE WHEN n.permit THEN reach.surely ELSE reach.perhaps END AND n.permit IS NOT NULL
      AND (n.permit OR NOT breaks_glass
           OR 'http://terminology.hl7.org/CodeSystem/v3-ActReason|BTG' = ANY (n.purposes))
    ORDER BY n.rid, cardinality(n.path) DESC, n.permit, n.node;
END
$$;

-- Whether they permit it. By default: if none denies. Otherwise each patient whose it is has to permit it, or
-- a policy; who is no Patient here permits nothing.
CREATE FUNCTION consented(
    tenant_ int, by_default boolean, does text, may text[], actors_ bigint[], purposes_ text[], breaks_glass boolean,
    at bigint, type_ text, id_ text, patients bigint[], lo bigint, hi bigint, meta_ json, content_ jsonb
) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    denied boolean;
    by_policy boolean;
    permitted bigint[];
BEGIN
    SELECT coalesce(bool_or(NOT d.permit), false), coalesce(bool_or(d.permit AND d.patient IS NULL), false),
           coalesce(array_agg(d.patient) FILTER (WHERE d.permit), '{}')
    INTO denied, by_policy, permitted
    FROM consent_decisions(tenant_, does, may, actors_, purposes_, breaks_glass, at, type_, id_, patients, lo, hi,
                           meta_, content_) AS d;
    IF denied OR by_default OR by_policy THEN
        RETURN NOT denied;
    END IF;
    RETURN coalesce((
        SELECT bool_and(k = ANY (permitted)) FROM unnest(patients) AS k
        WHERE EXISTS (SELECT FROM resource_patient p WHERE p.tenant = tenant_ AND p.idk = k AND p.died IS NULL)), false);
END
$$;

DO $$
BEGIN
    IF (SELECT count(*) FROM pg_roles WHERE rolname IN ('fhirserver_app', 'fhirserver_jobs')) < 2 THEN
        RETURN;
    END IF;
    GRANT SELECT, INSERT, DELETE ON consent_rule TO fhirserver_app;
    PERFORM isolate('consent_rule');
END
$$;
