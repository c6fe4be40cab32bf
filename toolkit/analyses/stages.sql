-- The stages of a pass, from the worker's first moment to its last.
-- pass_name: time, profile or loop
-- stage: setup, evaluate_before, warmup, train, evaluate_after, inference
-- ns: duration in nanoseconds
-- complete: false where the worker ended inside it
SELECT pass_name, name AS stage, dur_ns AS ns, complete FROM marks WHERE kind = 'stage' ORDER BY pass_name, ts_ns
