-- Every slice that a step is made of, under the name of the part that it counts to.
-- trace: number of the trace
-- part: Kernel, Memcpy, Memset, Communication, Runtime, DataLoader or CPU Exec
-- start_ns: start
-- end_ns: end
SELECT
    trace,
    CASE
        WHEN kind = 'kernel' AND is_collective(name) THEN 'Communication'
        WHEN kind = 'kernel' THEN 'Kernel'
        WHEN kind = 'memcpy' THEN 'Memcpy'
        WHEN kind = 'memset' THEN 'Memset'
        WHEN kind = 'launch' THEN 'Runtime'
        WHEN is_loading(name) THEN 'DataLoader'
        WHEN regexp_matches(name, '^(nccl|gloo):') THEN 'Communication'
        ELSE 'CPU Exec'
    END AS part,
    ts_ns AS start_ns,
    ts_ns + dur_ns AS end_ns
FROM slices
WHERE dur_ns IS NOT NULL AND NOT starts_with(name, 'ProfilerStep#')
    AND (kind IN ('kernel', 'memcpy', 'memset', 'launch', 'op')
        -- annotations are the user's own and hold anything; only those that a framework itself makes tell what ran
        OR kind = 'annotation'
        AND regexp_matches(name, '^(enumerate\(Data(Loader|Pipe)\)#|(nccl|gloo):|IteratorGetNext(AsOptional)?Op::)'))
