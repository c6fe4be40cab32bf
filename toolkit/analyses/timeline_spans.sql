-- When a pass was in which stage, epoch, and part of its epochs' ledgers, thinned: all of up to 400 spans of a lane; of more, what
-- took most of each four-hundredth of the lane's time, neighbours that are alike together.
-- pass_name: time, profile or loop
-- lane: stage, epoch or part
-- name: which stage or part; `epoch` for an epoch
-- epoch: from 1; NULL for a stage
-- spans: how many there are, drawn or not
-- start_ns: start
-- end_ns: end
WITH spans AS (
    SELECT pass_name, kind AS lane, CASE kind WHEN 'stage' THEN name ELSE kind END AS name,
        CASE kind WHEN 'epoch' THEN epoch END AS epoch, ts_ns AS start_ns, ts_ns + dur_ns AS end_ns
    FROM marks WHERE kind IN ('stage', 'epoch') AND dur_ns > 0
    UNION ALL
    SELECT pass_name, 'part', part, epoch, start_ns, end_ns FROM @ledger_spans
),
counted AS (
    SELECT *, count(*) OVER lanes AS spans, min(start_ns) OVER lanes AS first_ns,
        (max(end_ns) OVER lanes - min(start_ns) OVER lanes) // 400 + 1 AS width_ns
    FROM spans WINDOW lanes AS (PARTITION BY pass_name, lane)
),
pieces AS (
    SELECT *, unnest(range((start_ns - first_ns) // width_ns, (end_ns - first_ns - 1) // width_ns + 1)) AS bucket
    FROM counted WHERE spans > 400
),
shares AS (
    SELECT pass_name, lane, bucket, name, epoch, any_value(spans) AS spans,
        any_value(first_ns) AS first_ns, any_value(width_ns) AS width_ns,
        sum(least(end_ns, first_ns + (bucket + 1) * width_ns) - greatest(start_ns, first_ns + bucket * width_ns)) AS ns
    FROM pieces GROUP BY pass_name, lane, bucket, name, epoch
),
dominant AS (
    SELECT *, bucket - row_number() OVER (PARTITION BY pass_name, lane, name, epoch ORDER BY bucket) AS island
    FROM shares QUALIFY row_number() OVER (PARTITION BY pass_name, lane, bucket ORDER BY ns DESC, name, epoch) = 1
)
SELECT pass_name, lane, name, epoch, spans, start_ns, end_ns FROM counted WHERE spans <= 400
UNION ALL
SELECT pass_name, lane, name, epoch, any_value(spans), (any_value(first_ns) + min(bucket) * any_value(width_ns))::BIGINT,
    (any_value(first_ns) + (max(bucket) + 1) * any_value(width_ns))::BIGINT
FROM dominant GROUP BY pass_name, lane, name, epoch, island
ORDER BY pass_name, lane, start_ns
