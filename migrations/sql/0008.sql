-- The rules of consents in force, one for each node of a Consent's provisions, and what their criteria look at:
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
    IF array_to_string(classes, ' ') !~ '(profile|format|code):' THEN
        RETURN false;
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

DO $$
BEGIN
    IF (SELECT count(*) FROM pg_roles WHERE rolname IN ('fhirserver_app', 'fhirserver_jobs')) < 2 THEN
        RETURN;
    END IF;
    GRANT SELECT, INSERT, DELETE ON consent_rule TO fhirserver_app;
    PERFORM isolate('consent_rule');
END
$$;
