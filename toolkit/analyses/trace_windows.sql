-- From when to when each pass's native trace records: from the end of the call that starts the profiler to the start of the
-- one that stops it.
-- pass_name: profile
-- from_ns: start
-- to_ns: end
SELECT pass_name, min(ts_ns + dur_ns) AS from_ns, max(ts_ns) AS to_ns
FROM marks WHERE kind = 'phase' AND name = 'profiler'
GROUP BY pass_name HAVING max(ts_ns) > min(ts_ns + dur_ns)
ORDER BY pass_name
