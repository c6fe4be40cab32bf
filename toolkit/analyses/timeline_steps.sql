-- Training steps over time, thinned: all of up to 400 of a pass; of more, the longest and shortest of each two-hundredth of their
-- time, and the first and last. So the extremes are exact.
-- pass_name: time, profile or loop
-- epoch: from 1
-- step: from 1 within its epoch
-- steps: how many there are, drawn or not
-- ts_ns: start
-- host_ns: duration on the host, nanoseconds
-- compiled: whether it compiled or traced a graph
WITH placed AS (
    SELECT marks.pass_name, epoch, step, ts_ns, dur_ns AS host_ns, compiled.id IS NOT NULL AS compiled,
        row_number() OVER own AS place, count(*) OVER whole AS steps,
        (ts_ns - min(ts_ns) OVER whole)::HUGEINT * 200 // (max(ts_ns) OVER whole - min(ts_ns) OVER whole + 1) AS part
    FROM marks LEFT JOIN steps_that_compiled AS compiled USING (pass_name, id) WHERE kind = 'step' AND complete
    WINDOW whole AS (PARTITION BY marks.pass_name), own AS (PARTITION BY marks.pass_name ORDER BY ts_ns)
),
extremes AS (
    SELECT DISTINCT pass_name, unnest([arg_max(place, (host_ns, -place)), arg_min(place, (host_ns, place))]) AS place
    FROM placed WHERE steps > 400 GROUP BY pass_name, part
)
SELECT placed.pass_name, epoch, step, steps, ts_ns, host_ns, compiled
FROM placed LEFT JOIN extremes USING (pass_name, place)
WHERE steps <= 400 OR placed.place IN (1, steps) OR extremes.place IS NOT NULL
ORDER BY placed.pass_name, placed.place
