-- Why the clocks of each GPU that the run was given were held down while the worker ran, as NVML's reasons of the clocks tell; several may hold at once.
-- pass_name: time, profile or loop
-- device: GPU index as text
-- reason: by NVML's names: sw_power_cap, hw_slowdown, …; gpu_idle and clocks that someone set are reasons too
-- readings: how many had it
-- share: of all readings
WITH running AS (
    SELECT counters.pass_name, device, value::BIGINT AS mask
    FROM counters SEMI JOIN used_gpus USING (pass_name, device) JOIN (SELECT pass_name, ts_ns, ts_ns + dur_ns AS end_ns FROM marks WHERE kind = 'run') AS runs
        ON counters.pass_name = runs.pass_name AND counters.ts_ns BETWEEN runs.ts_ns AND end_ns
    WHERE metric = 'throttle_reasons'
),
reasons(bit, reason) AS (
    VALUES (0, 'gpu_idle'), (1, 'applications_clocks_setting'), (2, 'sw_power_cap'), (3, 'hw_slowdown'), (4, 'sync_boost'),
        (5, 'sw_thermal_slowdown'), (6, 'hw_thermal_slowdown'), (7, 'hw_power_brake_slowdown'),
        (8, 'display_clock_setting'), (9, 'board_limit'), (10, 'reliability')
),
counted AS (
    SELECT pass_name, device, reason, count(*) FILTER ((mask >> bit) & 1 = 1) AS readings, count(*) AS whole
    FROM running CROSS JOIN reasons GROUP BY ALL
)
SELECT pass_name, device, reason, readings, readings / whole AS share
FROM counted WHERE readings > 0 ORDER BY pass_name, device, share DESC, reason
