-- The framework's own allocator counters at each epoch's end.
-- pass_name: time, profile or loop
-- epoch: the epoch they were read in
-- device: GPU index as text
-- metric: in_use, reserved, peak_in_use, peak_reserved, largest_free, inactive_split, live_arrays
-- bytes: the reading
SELECT counters.pass_name, marks.epoch, counters.device, counters.metric, value::BIGINT AS bytes
FROM counters ASOF JOIN (SELECT * FROM marks WHERE kind = 'epoch') AS marks
ON counters.pass_name = marks.pass_name AND counters.ts_ns >= marks.ts_ns
WHERE source IN ('torch', 'tf', 'jax') AND counters.unit = 'B' AND counters.ts_ns < marks.ts_ns + marks.dur_ns
ORDER BY ALL
