-- What consents cost: most rows are decided by one look into an index, since a denial takes a rule that denies and a
-- permission one that permits. The functions say what they said before, in fewer statements of their own.

DROP INDEX consent_rule_patient;
CREATE INDEX consent_rule_patient ON consent_rule (patient, permit);
-- By what they name, for who writes that.
CREATE INDEX consent_rule_data ON consent_rule USING gin (data) WHERE data IS NOT NULL;

CREATE TYPE consent_decision AS (version bigint, whose bigint, by_node int, decided boolean);

-- The resources in a resource: what it contains, and what a Bundle holds however deep. A denial of one of them by what
-- it is denies what it is in.
CREATE FUNCTION consent_within(type_ text, content_ jsonb) RETURNS SETOF jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF type_ = 'Bundle' OR content_ ? 'contained' THEN
        RETURN QUERY SELECT part FROM jsonb_path_query(content_, 'strict $.** ? (exists(@.resourceType))') AS part;
    END IF;
END
$$;

-- Whether one of them is of such a level, label or class, or, in a Bundle, is what data names. In functions, because an
-- expression with a query in it is a query to PL/pgSQL, reached or not: a row took 80 us instead of 38.
CREATE FUNCTION is_within_level(type_ text, content_ jsonb, level_ int) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM consent_within(type_, content_) AS w WHERE consent_level(w -> 'meta') >= level_);
END
$$;

CREATE FUNCTION is_within_labels(type_ text, content_ jsonb, labels_ text[]) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (SELECT FROM consent_within(type_, content_) AS w WHERE labels_ && consent_labels(w -> 'meta'));
END
$$;

CREATE FUNCTION is_within_classes(type_ text, content_ jsonb, classes_ text[]) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM consent_within(type_, content_) AS w
        WHERE consent_class(classes_, w ->> 'resourceType', w -> 'meta', w));
END
$$;

CREATE FUNCTION is_within_data(content_ jsonb, data_ text[]) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM consent_within('Bundle', content_) AS w
        WHERE 'instance ' || (w ->> 'resourceType') || '/' || (w ->> 'id') = ANY (data_));
END
$$;

-- What the consents of patients and the policies of the organisation say of a resource: for each that says something
-- its version, whose it is (null: a policy), the node that decides and whether it permits. A node matches for sure,
-- perhaps (null) or not; a denial is reached over nodes that perhaps match, a permission over those that do so for
-- sure. The deepest node that is reached decides for its consent, and denies if there are several that disagree.
-- Rules of versions that have ended are among them until they are swept.
CREATE FUNCTION consent_said(
    tenant_ int, does text, may text[], actors_ bigint[], purposes_ text[], breaks_glass boolean, at bigint,
    type_ text, id_ text, patients bigint[], lo bigint, hi bigint, meta_ json, content_ jsonb
) RETURNS consent_decision[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
    said consent_decision[] := '{}';
    one consent_decision;
    r consent_rule;
    matches boolean;
    surely int[];
    perhaps int[];
    above int;
    deepest int;
BEGIN
    FOR r IN
        SELECT k.* FROM consent_rule k
        WHERE k.patient = ANY (patients) OR (k.tenant = tenant_ AND k.patient IS NULL)
        ORDER BY k.rid, k.node
    LOOP
        IF r.node = 0 THEN
            IF one.decided IS NOT NULL THEN
                said := said || one;
            END IF;
            one := NULL;
            deepest := -1;
            surely := '{}';
            perhaps := '{}';
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
            AND (r.level IS NULL OR CASE WHEN NOT r.permit THEN consent_level(meta_::jsonb) >= r.level
            OR is_within_level(type_, content_, r.level)
            ELSE consent_level(meta_::jsonb) <= r.level END)
            AND (r.labels IS NULL OR r.labels && consent_labels(meta_::jsonb) OR ('labels' = ANY (r.vague) AND NULL)
            OR (r.permit IS FALSE AND is_within_labels(type_, content_, r.labels)))
            AND (r.classes IS NULL OR consent_class(r.classes, type_, meta_::jsonb, content_)
            OR ('classes' = ANY (r.vague) AND NULL)
            OR (r.permit IS FALSE AND is_within_classes(type_, content_, r.classes)))
            AND (r.codes IS NULL OR r.codes && consent_codes(content_) OR ('codes' = ANY (r.vague) AND NULL))
            AND (r.authors IS NULL OR r.authors && consent_authors(content_) OR ('authors' = ANY (r.vague) AND NULL))
            AND (r.custodians IS NULL OR r.custodians && consent_custodians(content_)
            OR ('custodians' = ANY (r.vague) AND NULL))
            AND CASE WHEN r.data_lo IS NULL OR (r.data_lo <= lo AND hi <= r.data_hi) THEN true
            WHEN lo < r.data_hi AND r.data_lo < hi THEN NULL
            WHEN lo IS NULL OR hi IS NULL THEN NULL ELSE false END
            AND (r.data IS NULL OR consent_data(r.data, tenant_, type_, id_, content_)
            OR ('data' = ANY (r.vague) AND NULL)
            OR (r.permit IS FALSE AND type_ = 'Bundle' AND is_within_data(content_, r.data)));
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
            one := (r.rid, r.patient, r.node, r.permit);
        END IF;
    END LOOP;
    RETURN CASE WHEN one.decided IS NULL THEN said ELSE said || one END;
END
$$;

-- When a date or dateTime begins (or is over) as fhir/dates.py has it, in us; `zone` is where days are.
CREATE FUNCTION moment_of(said text, zone text, is_over boolean) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    day timestamp;
BEGIN
    IF said LIKE '%T%' THEN
        RETURN extract(epoch FROM said::timestamptz) * 1000000 + CASE WHEN is_over
            THEN 10 ^ greatest(0, 6 - length(coalesce(substring(said FROM '[.]([0-9]+)'), ''))) ELSE 0 END;
    END IF;
    day := (said || substr('-01-01', length(said) - 3))::timestamp;
    IF is_over THEN
        day := day + CASE length(said) WHEN 4 THEN interval '1 year' WHEN 7 THEN '1 month' ELSE '1 day' END;
    END IF;
    RETURN extract(epoch FROM day AT TIME ZONE zone) * 1000000;
END
$$;

-- Whether a Period is now, to the end of what its last date is; one that is not there always is.
CREATE FUNCTION is_during(period jsonb, at bigint, zone text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN coalesce(moment_of(period ->> 'start', zone, false) <= at, true)
       AND coalesce(at < moment_of(period ->> 'end', zone, true), true);
END
$$;

-- Whether one of the members of a CareTeam or a Group is one of `names` now. A reference may be absolute, and to a
-- version.
CREATE FUNCTION has_member(members jsonb, who text[], names text[], at bigint, zone text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN EXISTS (
        SELECT FROM jsonb_array_elements(members) AS m
        WHERE substring(m #>> who FROM '([A-Za-z]+/[A-Za-z0-9.-]+)(?:/_history/[A-Za-z0-9.-]+)?$') = ANY (names)
          AND m ->> 'inactive' IS DISTINCT FROM 'true' AND is_during(m -> 'period', at, zone));
END
$$;

-- On what terms those of `names` belong to a CareTeam, a Group or an Organization: what they cannot set themselves.
CREATE FUNCTION terms_of(content jsonb, names text[]) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN jsonb_build_array(content -> 'period', content #> '{partOf,reference}', (
        SELECT jsonb_agg(t ORDER BY t::text)
        FROM jsonb_array_elements(coalesce(content -> 'participant', content -> 'member')) AS m
        CROSS JOIN LATERAL jsonb_build_array(
            coalesce(m #>> '{member,reference}', m #>> '{entity,reference}'), m -> 'period', m -> 'inactive') AS t
        WHERE has_member(jsonb_build_array(m - 'period' - 'inactive'), '{member,reference}', names, NULL, NULL)
           OR has_member(jsonb_build_array(m - 'period' - 'inactive'), '{entity,reference}', names, NULL, NULL)));
END
$$;

-- The keys of who asks and of all that they belong to now: Devices that are the app, PractitionerRoles that are
-- active, the Organizations of these and what those are part of, active CareTeams, Groups of those who are there.
-- Most people are in few of these: an index that says so is asked first. What is over, or has not begun, is read
-- from what is found; with `at` null periods do not count. `keys_` are those of search parameters; a reference of
-- such a parameter is its key # that of the target. What somebody writes in the transaction `own` makes them nobody
-- else: null is for who wants to know what it would.
CREATE FUNCTION consent_actors(
    tenant_ int, user_ bigint[], names text[], app bigint, app_of_system bigint, keys_ bigint[], at bigint, zone text,
    own xid8
) RETURNS bigint[]
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
DECLARE
    practitioner_ bigint := keys_[1];
    organization_ bigint := keys_[2];
    part_of bigint := keys_[3];
    participant_ bigint := keys_[4];
    member_ bigint := keys_[5];
    inactive bigint := keys_[6];
    active_ bigint := keys_[7];
    they bigint[] := user_;
    houses bigint[] := '{}';
    devices bigint[];
    found bigint[];
    called text[];
    above bigint[];
BEGIN
    SELECT array_agg(x.rid) FILTER (WHERE x.key = app), array_agg(x.rid) FILTER (WHERE x.key IS DISTINCT FROM app)
    INTO devices, found
    FROM tok x WHERE x.key = ANY (app || ARRAY(SELECT practitioner_ # u FROM unnest(user_) AS u));
    IF devices IS NOT NULL THEN
        SELECT they || array_agg(d.idk), names || array_agg('Device/' || d.id)
        INTO they, names
        FROM resource_device d
        WHERE d.rid = ANY (devices) AND d.tenant = tenant_ AND d.keys @> ARRAY[app_of_system]
          AND (d.died IS NULL OR d.died = own) AND d.born IS DISTINCT FROM own;
    END IF;
    IF found IS NOT NULL THEN
        SELECT they || array_agg(DISTINCT p.idk), names || array_agg(DISTINCT 'PractitionerRole/' || p.id),
               array_agg(k # organization_)
        INTO they, names, above
        FROM resource_practitionerrole p, unnest(p.keys) AS k
        WHERE p.rid = ANY (found) AND p.tenant = tenant_
          AND (p.died IS NULL OR p.died = own) AND p.born IS DISTINCT FROM own AND NOT p.keys @> ARRAY[inactive]
          AND is_during(p.content -> 'period', at, zone);
        WHILE above IS NOT NULL LOOP
            SELECT array_agg(DISTINCT o.idk), array_agg(DISTINCT 'Organization/' || o.id), array_agg(DISTINCT k # part_of)
            INTO found, called, above
            FROM resource_organization o, unnest(o.keys) AS k
            WHERE o.idk = ANY (above) AND o.tenant = tenant_ AND o.idk <> ALL (houses)
              AND (o.died IS NULL OR o.died = own) AND o.born IS DISTINCT FROM own;
            houses := houses || found;
            names := names || called;
        END LOOP;
        they := they || houses;
    END IF;
    found := ARRAY(
        SELECT x.rid FROM tok x
        WHERE x.key = ANY (ARRAY(SELECT f # m FROM unnest(they) AS f, unnest(ARRAY[participant_, member_]) AS m)));
    IF found <> '{}' THEN
        they := they || ARRAY(
            SELECT t.idk FROM resource_careteam t
            WHERE t.rid = ANY (found) AND t.tenant = tenant_ AND t.keys @> ARRAY[active_]
              AND (t.died IS NULL OR t.died = own) AND t.born IS DISTINCT FROM own
              AND is_during(t.content -> 'period', at, zone)
              AND has_member(t.content -> 'participant', '{member,reference}', names, at, zone)
            UNION
            SELECT g.idk FROM resource_group g
            WHERE g.rid = ANY (found) AND g.tenant = tenant_ AND (g.died IS NULL OR g.died = own)
              AND g.born IS DISTINCT FROM own AND g.content ->> 'active' IS DISTINCT FROM 'false'
              AND g.content ->> 'actual' IS DISTINCT FROM 'false'
              AND has_member(g.content -> 'member', '{entity,reference}', names, at, zone));
    END IF;
    RETURN they;
END
$$;

-- Whether a resource has a subject that may be a patient, as it says neither by a type nor by a literal reference what
-- it is: an identifier, or a name. Parameters that say `resolve() is Patient` do not have it.
CREATE FUNCTION is_of_somebody(content jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    RETURN jsonb_path_exists(
        jsonb_build_array(content -> 'subject', content -> 'for', content -> 'actor',
                          jsonb_path_query_array(content, '$.participant.actor')),
        '$[*][*] ? (@.type() == "object" && !exists(@.type)
            && (!exists(@.reference) || !(@.reference like_regex "^#|(^|/)[A-Z][A-Za-z]+/[A-Za-z0-9.-]+(/_history/|$)")))');
END
$$;

-- What is here under a key, of a type that is known: of one partition, which is chosen when it runs.
CREATE FUNCTION led(tenant_ int, key bigint, type_ text) RETURNS SETOF resource
LANGUAGE plpgsql STABLE ROWS 1 SET plan_cache_mode = force_generic_plan AS $$
BEGIN
    RETURN QUERY SELECT * FROM resource r
        WHERE r.type = type_ AND r.idk = key AND r.tenant = tenant_ AND r.died IS NULL;
END
$$;

-- Who has broken the glass, and until when: to see what consents deny, of a patient or (null) of all.
CREATE TABLE broken_glass (
    tenant  int         NOT NULL,
    who     text        NOT NULL,  -- as policy/principal names callers
    patient text,                  -- id
    reason  text        NOT NULL,
    purpose text        NOT NULL,
    begun   timestamptz NOT NULL DEFAULT clock_timestamp(),
    ends    timestamptz NOT NULL
);
CREATE INDEX broken_glass_who ON broken_glass (tenant, who, ends);

DO $$
BEGIN
    IF (SELECT count(*) FROM pg_roles WHERE rolname IN ('fhirserver_app', 'fhirserver_jobs')) < 2 THEN
        RETURN;
    END IF;
    GRANT SELECT, INSERT ON broken_glass TO fhirserver_app;
    PERFORM isolate('broken_glass');
END
$$;
