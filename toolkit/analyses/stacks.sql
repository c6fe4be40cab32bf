-- Self and total time of each Python frame that a sampler saw, by thread. Self times of a thread sum to the time that
-- the thread was sampled. A frame that calls itself counts once in its total.
-- trace: number of the trace
-- pass_name: time, profile or loop
-- thread: process/thread, or the thread as the sampler names it
-- frame: function (file:line)
-- samples: samples that hold the frame; NULL where the file tells durations only
-- self_ns: time in the frame itself
-- total_ns: time in the frame and in what it called
SELECT
    trace, pass_name, thread, frame,
    sum(samples) FILTER (NOT recursive) AS samples,
    sum(self_ns) AS self_ns,
    sum(dur_ns) FILTER (NOT recursive) AS total_ns
FROM stacks
GROUP BY trace, pass_name, thread, frame
ORDER BY trace, thread, self_ns DESC NULLS LAST, total_ns DESC NULLS LAST, frame
