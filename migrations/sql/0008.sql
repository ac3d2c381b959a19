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

-- What a resource refers to under the paths, as Type/id; null where its content is not there. Neither this nor the
-- next is in SQL: PostgreSQL would plan them anew in each statement.
CREATE FUNCTION consent_references(content jsonb, VARIADIC paths jsonpath[]) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF content IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(
        SELECT split_part(part #>> '{}', '/_history/', 1)
        FROM unnest(paths) AS path, jsonb_path_query(content, path) AS part
        WHERE jsonb_typeof(part) = 'string');
END
$$;

-- Who made a resource, and who keeps it; null where it does not say.
CREATE FUNCTION consent_authors(content jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN nullif(consent_references(
        content, '$.author.reference', '$.performer.reference', '$.performer.actor.reference', '$.recorder.reference',
        '$.asserter.reference', '$.requester.reference', '$.enterer.reference', '$.informationSource.reference',
        '$.sender.reference', '$.agent.who.reference', '$.prescriber.reference'), '{}');
END
$$;

CREATE FUNCTION consent_custodians(content jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN nullif(consent_references(
        content, '$.custodian.reference', '$.managingOrganization.reference', '$.serviceProvider.reference'), '{}');
END
$$;

-- The codes in a resource as system|code; null where it has none.
CREATE FUNCTION consent_codes(content jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (
        SELECT array_agg((part ->> 'system') || '|' || (part ->> 'code'))
        FROM jsonb_path_query(content, '$.** ? (exists(@.system) && exists(@.code) && !exists(@.value))') AS part);
END
$$;

-- The labels of a resource as system|code, and the highest confidentiality among them; null where there are none.
-- HL7 V3's systems may be written as CDA does.
CREATE FUNCTION consent_labels(meta jsonb) RETURNS text[]
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF meta -> 'security' IS NULL THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(
        SELECT CASE s ->> 'system'
            WHEN 'urn:oid:2.16.840.1.113883.5.4' THEN 'http://terminology.hl7.org/CodeSystem/v3-ActCode'
            WHEN 'urn:oid:2.16.840.1.113883.5.25' THEN 'http://terminology.hl7.org/CodeSystem/v3-Confidentiality'
            ELSE s ->> 'system' END || '|' || (s ->> 'code')
        FROM jsonb_array_elements(meta -> 'security') AS s);
END
$$;

CREATE FUNCTION consent_level(meta jsonb) RETURNS int
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN (
        SELECT max(array_position('{U,L,M,N,R,V}', s ->> 'code')) FROM jsonb_array_elements(meta -> 'security') AS s
        WHERE s ->> 'system' IN (
            'http://terminology.hl7.org/CodeSystem/v3-Confidentiality', 'urn:oid:2.16.840.1.113883.5.25'));
END
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
CREATE FUNCTION consent_data(data text[], tenant_ int, type_ text, id_ text, content jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
DECLARE
    here text := type_ || '/' || id_;
    unknown boolean := false;
    one text;
    meaning text;
    there text;
    leads boolean;
BEGIN
    FOREACH one IN ARRAY data LOOP
        meaning := split_part(one, ' ', 1);
        there := split_part(one, ' ', 2);
        IF meaning <> 'authoredby' AND there = here THEN
            RETURN true;
        END IF;
        leads := CASE meaning
            WHEN 'related' THEN EXISTS (
                SELECT FROM (
                    SELECT d.content FROM resource d
                    WHERE d.tenant = tenant_ AND d.type = split_part(there, '/', 1) AND d.id = split_part(there, '/', 2)
                      AND d.content IS NOT NULL
                    ORDER BY d.version DESC LIMIT 1
                ) l WHERE here = ANY (consent_references(l.content, '$.**.reference')))
            WHEN 'dependents' THEN there = ANY (consent_references(content, '$.**.reference'))
            WHEN 'authoredby' THEN there = ANY (consent_authors(content))
            ELSE false
        END;
        IF leads THEN
            RETURN true;
        END IF;
        unknown := unknown OR leads IS NULL;
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
) RETURNS TABLE (version bigint, whose bigint, by_node int, decided boolean)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    meta jsonb := meta_;
    r record;
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
            r.starts <= at AND at < r.ends
            AND CASE WHEN 'rule' = ANY (r.vague) THEN NULL ELSE true END
            AND (r.actors IS NULL OR r.actors && actors_ OR ('actors' = ANY (r.vague) AND NULL))
            AND (r.actions IS NULL OR does = ANY (r.actions)
            OR ((r.actions && may OR 'actions' = ANY (r.vague)) AND NULL))
            AND (r.purposes IS NULL OR r.purposes && purposes_ OR ('purposes' = ANY (r.vague) AND NULL))
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

-- Whether they permit it. By default: if none denies. Otherwise each patient whose it is has to permit it, or
-- a policy; who is no Patient here permits nothing. To plan it anew for each row would take most of the time.
CREATE FUNCTION consented(
    tenant_ int, by_default boolean, does text, may text[], actors_ bigint[], purposes_ text[], breaks_glass boolean,
    at bigint, type_ text, id_ text, patients bigint[], lo bigint, hi bigint, meta_ json, content_ jsonb
) RETURNS boolean
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    denied boolean;
    by_policy boolean;
    permitted bigint[];
BEGIN
    SELECT coalesce(bool_or(NOT d.decided), false), coalesce(bool_or(d.decided AND d.whose IS NULL), false),
           coalesce(array_agg(d.whose) FILTER (WHERE d.decided), '{}')
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

-- The keys of who asks and of all that they belong to now: Devices that are the app, PractitionerRoles that are
-- active, the Organizations of these and what those are part of, active CareTeams, Groups. `keys_` are those of
-- search parameters; a reference of such a parameter is its key # that of the target. What somebody writes in a
-- transaction makes them nobody else within it.
CREATE FUNCTION consent_actors(
    tenant_ int, user_ bigint[], names text[], app bigint, app_of_system bigint, keys_ bigint[], at bigint
) RETURNS bigint[]
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    practitioner_ bigint := keys_[1];
    organization_ bigint := keys_[2];
    part_of bigint := keys_[3];
    participant_ bigint := keys_[4];
    member_ bigint := keys_[5];
    inactive bigint := keys_[6];
    period_ bigint := keys_[7];
    active_ bigint := keys_[8];
    own xid8 := pg_current_xact_id_if_assigned();
    base bigint[] := user_;
    roles bigint[];
    houses bigint[];
    they bigint[];
    above bigint[];
BEGIN
    IF app IS NOT NULL THEN
        base := base || ARRAY(
            SELECT d.idk FROM tok x JOIN resource_device d ON d.rid = x.rid
            WHERE x.key = app AND d.tenant = tenant_ AND d.keys @> ARRAY[app_of_system]
              AND (d.died IS NULL OR d.died = own) AND d.born IS DISTINCT FROM own);
    END IF;
    SELECT coalesce(array_agg(DISTINCT p.idk), '{}'), coalesce(array_agg(k # organization_), '{}')
    INTO roles, above
    FROM unnest(base) AS b JOIN tok x ON x.key = practitioner_ # b
    JOIN resource_practitionerrole p ON p.rid = x.rid, unnest(p.keys) AS k
    WHERE p.tenant = tenant_ AND (p.died IS NULL OR p.died = own) AND p.born IS DISTINCT FROM own
      AND NOT p.keys @> ARRAY[inactive]
      AND NOT EXISTS (SELECT FROM dat d WHERE d.rid = p.rid AND d.key = period_ AND NOT (d.lo <= at AND at < d.hi));
    houses := '{}';
    WHILE above <> '{}' LOOP
        SELECT coalesce(array_agg(DISTINCT o.idk), '{}'), coalesce(array_agg(DISTINCT k # part_of), '{}')
        INTO they, above
        FROM resource_organization o, unnest(o.keys) AS k
        WHERE o.idk = ANY (above) AND o.tenant = tenant_ AND o.idk <> ALL (houses)
          AND (o.died IS NULL OR o.died = own) AND o.born IS DISTINCT FROM own;
        houses := houses || they;
    END LOOP;
    they := base || roles || houses;
    RETURN they || ARRAY(
        SELECT t.idk FROM unnest(they) AS f JOIN tok x ON x.key = participant_ # f
        JOIN resource_careteam t ON t.rid = x.rid
        WHERE t.tenant = tenant_ AND t.keys @> ARRAY[active_]
          AND (t.died IS NULL OR t.died = own) AND t.born IS DISTINCT FROM own
        UNION
        SELECT g.idk FROM unnest(base) AS f JOIN tok x ON x.key = member_ # f
        JOIN resource_group g ON g.rid = x.rid
        WHERE g.tenant = tenant_ AND (g.died IS NULL OR g.died = own) AND g.born IS DISTINCT FROM own
          AND EXISTS (SELECT FROM jsonb_array_elements(g.content -> 'member') AS m
                      WHERE m #>> '{entity,reference}' = ANY (names) AND coalesce(m ->> 'inactive', 'false') = 'false'));
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
