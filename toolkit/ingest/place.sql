-- Slices with epoch, step and phase filled from the marks around them. Epochs do not overlap within a pass, nor do steps, nor the
-- phases' own stretches, so the last that began before a moment is the only one that can hold it. Device work is placed by its
-- launch's start.
WITH launches AS (
    SELECT trace, correlation, min(ts_ns) AS launched_ns FROM slices
    WHERE kind = 'launch' AND correlation IS NOT NULL GROUP BY ALL
),
anchored AS (
    SELECT slices.*, CASE WHEN device IS NULL THEN ts_ns ELSE coalesce(launched_ns, ts_ns) END AS anchor_ns
    FROM slices LEFT JOIN launches USING (trace, correlation)
),
spans AS (
    SELECT kind, pass_name, epoch, step, ts_ns, ts_ns + dur_ns AS end_ns FROM marks
)
SELECT anchored.* EXCLUDE (anchor_ns) REPLACE (
    CASE WHEN anchor_ns < epochs.end_ns THEN epochs.epoch END AS epoch,
    CASE WHEN anchor_ns < steps.end_ns THEN steps.step END AS step,
    CASE WHEN anchor_ns < phases.end_ns THEN phases.name END AS phase
)
FROM anchored
ASOF LEFT JOIN (SELECT * FROM spans WHERE kind = 'epoch') AS epochs
    ON anchored.pass_name = epochs.pass_name AND anchor_ns >= epochs.ts_ns
ASOF LEFT JOIN (SELECT * FROM spans WHERE kind = 'step') AS steps
    ON anchored.pass_name = steps.pass_name AND anchor_ns >= steps.ts_ns
ASOF LEFT JOIN (SELECT * FROM own_stretches WHERE kind = 'phase') AS phases
    ON anchored.pass_name = phases.pass_name AND anchor_ns >= phases.start_ns
