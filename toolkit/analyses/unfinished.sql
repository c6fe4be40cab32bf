-- Grounds for doubt that the marks give: a pass that was cut off, and a profiled one that left no trace.
-- trace: NULL
-- pass_name: time, profile or loop
-- code: cut_off or no_trace
-- count: marks that were open at the end, or 1
-- message: one sentence
-- untrusted: true
SELECT NULL::INTEGER AS trace, pass_name, 'cut_off' AS code, count(*) AS count,
    'The worker ended inside: its last marks are closed at the last thing recorded.' AS message, true AS untrusted
FROM marks WHERE NOT complete GROUP BY pass_name
UNION ALL
SELECT NULL, pass_name, 'no_trace', 1, 'The profile pass left no native trace.', true
FROM marks WHERE kind = 'run' AND pass_name = 'profile'
    AND NOT EXISTS (SELECT 1 FROM traces WHERE traces.pass_name = 'profile' AND format IN ('kineto', 'xplane'))
UNION ALL
SELECT NULL, pass_name, 'no_trace', 1, 'The profiler''s window left no native trace.', true
FROM marks WHERE kind = 'phase' AND name = 'profiler' AND pass_name = 'loop'
    AND NOT EXISTS (SELECT 1 FROM traces WHERE traces.pass_name = 'loop' AND format IN ('kineto', 'xplane'))
GROUP BY pass_name
