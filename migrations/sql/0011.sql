-- AuditEvents: a partition for each month, added to and read and nothing else. docs/adr/0018-audit-events-are-resources.md

-- The partition of the type becomes one that is itself partitioned, so that search, read and restriction go on
-- naming the one table they know. Its ids are the server's own, so nothing has to watch over them.
ALTER TABLE resource DETACH PARTITION resource_auditevent;
ALTER TABLE resource_auditevent RENAME TO auditevent_before;
CREATE TABLE resource_auditevent (LIKE resource INCLUDING DEFAULTS) PARTITION BY RANGE (updated);

-- The months from the oldest event on, this one and two to come, as far as they are missing. A month that is
-- attached keeps nobody waiting who adds events. Definer's rights: the application may make no tables.
CREATE FUNCTION audit_months() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog SET timezone = 'UTC' AS $$
DECLARE
    begins timestamptz := date_trunc('month', clock_timestamp());
    last timestamptz := begins + interval '2 months';
    name text;
    isolating boolean := (
        SELECT count(*) = 2 FROM pg_roles WHERE rolname IN ('fhirserver_app', 'fhirserver_jobs'));
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('fhirserver.audit_months', 0));
    IF to_regclass('public.auditevent_before') IS NOT NULL THEN
        SELECT least(begins, date_trunc('month', min(updated))) INTO begins FROM public.auditevent_before;
    END IF;
    WHILE begins <= last LOOP
        name := 'auditevent_' || to_char(begins, 'YYYYMM');
        IF to_regclass('public.' || name) IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I (LIKE public.resource_auditevent INCLUDING ALL)', name);
            IF isolating THEN
                PERFORM public.isolate(format('public.%I', name)::regclass);
            END IF;
            EXECUTE format(
                'ALTER TABLE public.resource_auditevent ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                name, begins, begins + interval '1 month');
        END IF;
        begins := begins + interval '1 month';
    END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION audit_months() FROM PUBLIC;

-- What was recorded of requests that changed nothing and is no AuditEvent yet: few rows for all requests that came
-- together, as `fhirserver.policy.audit.journal` folds them.
CREATE TABLE audit_journal (
    tenant  int     NOT NULL,
    entry   bigint  GENERATED ALWAYS AS IDENTITY,
    events  int     NOT NULL,                -- how many it will be
    told    json    NOT NULL,
    refused boolean NOT NULL DEFAULT false,  -- the database takes no such event: somebody has to look at it
    PRIMARY KEY (tenant, entry)
);

DO $$
BEGIN
    IF (SELECT count(*) FROM pg_roles WHERE rolname IN ('fhirserver_app', 'fhirserver_jobs')) = 2 THEN
        PERFORM isolate('resource_auditevent');
        PERFORM isolate('audit_journal');
        -- It becomes events under the role of jobs alone: who serves requests can take nothing away.
        GRANT SELECT, INSERT ON audit_journal TO fhirserver_app;
        GRANT DELETE ON audit_journal TO fhirserver_jobs;
        -- What is derived can be derived anew, by jobs alone; what an event says is for ever.
        GRANT SELECT, INSERT ON resource_auditevent TO fhirserver_app;
        GRANT UPDATE (ptk, ord, d_lo, d_hi, compartments, keys) ON resource_auditevent TO fhirserver_jobs;
        GRANT EXECUTE ON FUNCTION audit_months() TO fhirserver_app;
        REVOKE UPDATE (died, ptk, ord, d_lo, d_hi, compartments, keys) ON resource FROM fhirserver_app;
    END IF;
END
$$;

SELECT audit_months();
INSERT INTO resource_auditevent SELECT * FROM auditevent_before;
DROP TABLE auditevent_before;

-- None by patient: `tok` leads to whomever an event names, and `ptk` says who of them may read it.
CREATE INDEX resource_auditevent_rid ON resource_auditevent (rid);
CREATE INDEX resource_auditevent_version ON resource_auditevent (tenant, id, version);
CREATE INDEX resource_auditevent_idk ON resource_auditevent (idk) WHERE died IS NULL;
CREATE INDEX resource_auditevent_ord ON resource_auditevent (tenant, ord DESC, rid DESC) WHERE died IS NULL;
CREATE INDEX resource_auditevent_word ON resource_auditevent (tenant, (keys[1]), ord DESC, rid DESC)
    WHERE died IS NULL;
CREATE INDEX resource_auditevent_died ON resource_auditevent (died) WHERE died IS NOT NULL;
CREATE INDEX resource_auditevent_updated ON resource_auditevent (tenant, updated, rid);

ALTER TABLE resource ATTACH PARTITION resource_auditevent FOR VALUES IN ('AuditEvent');
