import time
import pytest
from fhirserver.search.compile import statement, count_statement
from fhirserver.search.context import Context
from tests.db.search.harness import *
from tests.db.search.population import RESOURCES
async def test_measure(database):
    async with harness(database) as db:
        await db.put_all(RESOURCES)
        await db.connection.execute("ANALYZE")
        snap = await db.connection.fetchval("SELECT pg_current_snapshot()::text")
        from fhirserver.search.compile import types_statement
        for url in ["?_id=p1", "?_id=p1,o1", "?_lastUpdated=gt2020&_count=20", "?_tag=x", "?_profile=http://x", "?_count=20", "?_sort=-_lastUpdated&_count=20", "Patient/p1/*?", "?_source=a&_sort=_id"]:
            t=time.perf_counter(); q=query(url); parse_ms=(time.perf_counter()-t)*1e3
            t0,a0=types_statement(q, Context(REGISTRY, KEYS, NOW)).numbered()
            await db.connection.execute("SET plan_cache_mode = force_generic_plan")
            tt=[]
            for i in range(4):
                t=time.perf_counter(); r=await db.connection.fetch(t0,*a0); tt.append(round((time.perf_counter()-t)*1e3,1))
            print("types", [x["type"] for x in r], tt)
            q=q.only([x["type"] for x in r])
            for s in (None, snap):
                t=time.perf_counter(); text,args=statement(q, Context(REGISTRY, KEYS, NOW, snapshot=s), COLUMNS).numbered(); comp=(time.perf_counter()-t)*1e3
                times=[]
                for i in range(4):
                    t=time.perf_counter(); rows=await db.connection.fetch(text,*args); times.append(round((time.perf_counter()-t)*1e3))
                pl=await db.connection.fetch("EXPLAIN (ANALYZE, SUMMARY) "+text,*args)
                print(url, s is None, "parse", round(parse_ms), "compile", round(comp), "len", len(text), len(rows), times, [r[0] for r in pl[-8:] if "Time" in r[0]])
            text,args=count_statement(q, Context(REGISTRY, KEYS, NOW), 501).numbered()
            t=time.perf_counter(); n=await db.connection.fetchval(text,*args); print("   count", n, round((time.perf_counter()-t)*1e3), len(text))
        for text in ["SELECT * FROM resource r WHERE r.id = any('{p1}'::text[]) AND r.died IS NULL AND r.tenant=1", "SELECT * FROM resource r WHERE r.rid = any('{1,2,3}'::bigint[]) AND r.died IS NULL AND r.tenant=1","SELECT * FROM resource r WHERE r.died IS NULL AND r.tenant=1 ORDER BY r.ord DESC LIMIT 20"]:
            times=[]
            for i in range(8):
                t=time.perf_counter(); rows=await db.connection.fetch(text); times.append(round((time.perf_counter()-t)*1e3))
            pl=await db.connection.fetch("EXPLAIN (ANALYZE, SUMMARY) "+text)
            print(text, len(rows), times, [r[0] for r in pl[-8:] if "Time" in r[0]])
