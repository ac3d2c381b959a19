-- The word of a row (fhirserver/params/word.py) leads to what is rare among hot values and absent ones.

DO $$
DECLARE
    p text;
BEGIN
    FOR p IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'resource'::regclass LOOP
        EXECUTE format('CREATE INDEX %I ON %I (tenant, (keys[1]), ord DESC, rid DESC) WHERE died IS NULL',
                       p || '_word', p);
    END LOOP;
END
$$;
