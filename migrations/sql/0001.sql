-- One table of immutable versions, four index tables, two roles.
-- docs/adr/0002-one-table-of-versions.md gives the measurements behind this shape.

CREATE SEQUENCE rid;

-- Every version of every resource is one row that never changes but for `died`.
CREATE TABLE resource (
    tenant       int         NOT NULL,
    type         text        NOT NULL,
    rid          bigint      NOT NULL DEFAULT nextval('rid'),  -- one per version; index rows point at it
    id           text        COLLATE "C" NOT NULL,
    version      int         NOT NULL,
    updated      timestamptz NOT NULL,                         -- taken after the writer has its transaction id
    method       text        NOT NULL,                         -- POST, PUT, PATCH or DELETE: Bundle.entry.request
    idk          bigint      NOT NULL,                         -- key of Type/id; a reference to it is param # idk
    ptk          bigint,                                       -- key of the patient, where provably the only one
    ord          bigint      NOT NULL,                         -- default order: clinical date or `updated`, in us
    d_lo         bigint,                                       -- clinical date, [d_lo, d_hi) in us
    d_hi         bigint,
    compartments bigint[]    NOT NULL,
    keys         bigint[]    NOT NULL,                         -- every token, reference, uri and presence key
    born         xid8        NOT NULL DEFAULT pg_current_xact_id(),
    died         xid8,                                         -- null while current; a deletion is born dead
    meta         json,                                         -- without versionId and lastUpdated
    content      jsonb,                                        -- without resourceType, id, meta; null in a deletion
    written      text                                          -- the JSON text where jsonb would not give it back
) PARTITION BY LIST (type);

-- Selective keys only; hot ones live in resource.keys alone (fhirserver/params/hot.py).
CREATE TABLE tok (key bigint NOT NULL, ord bigint NOT NULL, rid bigint NOT NULL);
CREATE INDEX tok_key ON tok (key, ord DESC, rid DESC);

-- Folded and bounded prefixes of strings.
CREATE TABLE str (key bigint NOT NULL, val text COLLATE "C" NOT NULL, rid bigint NOT NULL);
CREATE INDEX str_key ON str (key, val, rid);
CREATE INDEX str_rid ON str (rid);

-- Dates other than the type's clinical date, [lo, hi) in us.
CREATE TABLE dat (key bigint NOT NULL, lo bigint NOT NULL, hi bigint NOT NULL, rid bigint NOT NULL);
CREATE INDEX dat_key ON dat (key, lo, hi, rid);
CREATE INDEX dat_rid ON dat (rid);

-- Numbers and quantities, UCUM-canonical where the unit allows.
CREATE TABLE qty (key bigint NOT NULL, lo numeric NOT NULL, hi numeric NOT NULL, rid bigint NOT NULL);
CREATE INDEX qty_key ON qty (key, lo, hi, rid);
CREATE INDEX qty_rid ON qty (rid);

-- What all processes on this database share: the secret of the index keys and of the page links.
CREATE TABLE server (name text PRIMARY KEY, value bytea NOT NULL);
INSERT INTO server VALUES
    ('key_secret', uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())),
    ('link_secret', uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

-- The janitor's clock: at `at`, every transaction before `before` was over. Once a tick is older than
-- the retention, index rows of versions that died before it are swept.
CREATE TABLE tick (
    at     timestamptz PRIMARY KEY DEFAULT clock_timestamp(),
    before xid8        NOT NULL DEFAULT pg_snapshot_xmin(pg_current_snapshot()),
    swept  boolean     NOT NULL DEFAULT false
);

-- The instant before which no version can appear any more: a feed serves only what is older, so a
-- transaction that commits late is never skipped. Definer's rights: the application role may not
-- see other sessions' transaction ids.
CREATE FUNCTION horizon() RETURNS timestamptz
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    now_ timestamptz := clock_timestamp();  -- before looking for writers: a later one is younger
    oldest timestamptz;
BEGIN
    SELECT min(xact_start) INTO oldest
    FROM pg_stat_activity
    WHERE backend_xid IS NOT NULL AND backend_type = 'client backend'
      AND datname = current_database() AND pid <> pg_backend_pid();
    RETURN least(now_, oldest);
END
$$;

-- The application's role owns nothing: it adds versions and marks them dead, it cannot change one.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'fhirserver_app') THEN
        CREATE ROLE fhirserver_app NOLOGIN;
    END IF;
    EXECUTE format('GRANT fhirserver_app TO %I', current_user);
EXCEPTION
    WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN
        RAISE NOTICE 'role fhirserver_app was not created here: %', SQLERRM;
END
$$;

DO $$
DECLARE
    t text;
    p text;
    roled boolean := EXISTS (SELECT FROM pg_roles WHERE rolname = 'fhirserver_app');
BEGIN
    FOREACH t IN ARRAY ARRAY[
        'Account', 'ActivityDefinition', 'AdverseEvent', 'AllergyIntolerance', 'Appointment',
        'AppointmentResponse', 'AuditEvent', 'Basic', 'Binary', 'BiologicallyDerivedProduct',
        'BodyStructure', 'Bundle', 'CapabilityStatement', 'CarePlan', 'CareTeam', 'CatalogEntry',
        'ChargeItem', 'ChargeItemDefinition', 'Claim', 'ClaimResponse', 'ClinicalImpression', 'CodeSystem',
        'Communication', 'CommunicationRequest', 'CompartmentDefinition', 'Composition', 'ConceptMap',
        'Condition', 'Consent', 'Contract', 'Coverage', 'CoverageEligibilityRequest',
        'CoverageEligibilityResponse', 'DetectedIssue', 'Device', 'DeviceDefinition', 'DeviceMetric',
        'DeviceRequest', 'DeviceUseStatement', 'DiagnosticReport', 'DocumentManifest', 'DocumentReference',
        'EffectEvidenceSynthesis', 'Encounter', 'Endpoint', 'EnrollmentRequest', 'EnrollmentResponse',
        'EpisodeOfCare', 'EventDefinition', 'Evidence', 'EvidenceVariable', 'ExampleScenario',
        'ExplanationOfBenefit', 'FamilyMemberHistory', 'Flag', 'Goal', 'GraphDefinition', 'Group',
        'GuidanceResponse', 'HealthcareService', 'ImagingStudy', 'Immunization', 'ImmunizationEvaluation',
        'ImmunizationRecommendation', 'ImplementationGuide', 'InsurancePlan', 'Invoice', 'Library',
        'Linkage', 'List', 'Location', 'Measure', 'MeasureReport', 'Media', 'Medication',
        'MedicationAdministration', 'MedicationDispense', 'MedicationKnowledge', 'MedicationRequest',
        'MedicationStatement', 'MedicinalProduct', 'MedicinalProductAuthorization',
        'MedicinalProductContraindication', 'MedicinalProductIndication', 'MedicinalProductIngredient',
        'MedicinalProductInteraction', 'MedicinalProductManufactured', 'MedicinalProductPackaged',
        'MedicinalProductPharmaceutical', 'MedicinalProductUndesirableEffect', 'MessageDefinition',
        'MessageHeader', 'MolecularSequence', 'NamingSystem', 'NutritionOrder', 'Observation',
        'ObservationDefinition', 'OperationDefinition', 'OperationOutcome', 'Organization',
        'OrganizationAffiliation', 'Patient', 'PaymentNotice', 'PaymentReconciliation', 'Person',
        'PlanDefinition', 'Practitioner', 'PractitionerRole', 'Procedure', 'Provenance', 'Questionnaire',
        'QuestionnaireResponse', 'RelatedPerson', 'RequestGroup', 'ResearchDefinition',
        'ResearchElementDefinition', 'ResearchStudy', 'ResearchSubject', 'RiskAssessment',
        'RiskEvidenceSynthesis', 'Schedule', 'SearchParameter', 'ServiceRequest', 'Slot', 'Specimen',
        'SpecimenDefinition', 'StructureDefinition', 'StructureMap', 'Subscription', 'Substance',
        'SubstanceNucleicAcid', 'SubstancePolymer', 'SubstanceProtein', 'SubstanceReferenceInformation',
        'SubstanceSourceMaterial', 'SubstanceSpecification', 'SupplyDelivery', 'SupplyRequest', 'Task',
        'TerminologyCapabilities', 'TestReport', 'TestScript', 'ValueSet', 'VerificationResult',
        'VisionPrescription'
    ] LOOP
        p := 'resource_' || lower(t);
        EXECUTE format('CREATE TABLE %I PARTITION OF resource FOR VALUES IN (%L)', p, t);
        EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (rid)', p);
        EXECUTE format('CREATE UNIQUE INDEX %I ON %I (tenant, id, version)', p || '_version', p);
        EXECUTE format('CREATE UNIQUE INDEX %I ON %I (tenant, id) WHERE died IS NULL', p || '_id', p);
        EXECUTE format('CREATE INDEX %I ON %I (idk) WHERE died IS NULL', p || '_idk', p);
        EXECUTE format('CREATE INDEX %I ON %I (ptk, ord DESC, rid DESC) WHERE died IS NULL AND ptk IS NOT NULL',
                       p || '_ptk', p);
        EXECUTE format('CREATE INDEX %I ON %I (tenant, ord DESC, rid DESC) WHERE died IS NULL', p || '_ord', p);
        EXECUTE format('CREATE INDEX %I ON %I (died) WHERE died IS NOT NULL', p || '_died', p);
        EXECUTE format('CREATE INDEX %I ON %I (tenant, updated, rid)', p || '_updated', p);
        IF roled THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE (died) ON %I TO fhirserver_app', p);
        END IF;
    END LOOP;
    IF roled THEN
        GRANT USAGE ON SCHEMA public TO fhirserver_app;
        GRANT SELECT, INSERT, UPDATE (died) ON resource TO fhirserver_app;
        GRANT SELECT, INSERT, DELETE ON tok, str, dat, qty TO fhirserver_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON tick TO fhirserver_app;
        GRANT SELECT ON server TO fhirserver_app;
        GRANT USAGE ON SEQUENCE rid TO fhirserver_app;
    END IF;
END
$$;
