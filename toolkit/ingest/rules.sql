-- What several analyses rely on, said once.

-- A kernel of NCCL or RCCL, by its name: what counts as communication wherever a figure says so. (The category of that name
-- also holds all-reduces that frameworks bring themselves.)
CREATE MACRO is_collective(name) AS contains(lower(name), 'nccl') OR contains(lower(name), 'rccl');

-- An operator of PyTorch's that does nothing but allocate, by its name: the one around it is what asked for the memory.
CREATE MACRO only_allocates(name) AS
    regexp_matches(name, '^aten::(empty|new_empty|resize_|zeros|new_zeros|ones|new_ones|full|new_full)');

-- The steps that the framework marked: PyTorch's ProfilerStep#n, or an annotation to which TensorFlow or JAX gave a step's
-- number. What marks a step within another one is part of that one.
CREATE VIEW marked_steps AS
WITH numbered AS (
    SELECT trace, coalesce(step_num, regexp_extract(name, '\d+$')::INTEGER) AS step,
        ts_ns AS host_start_ns, ts_ns + dur_ns AS host_end_ns,
        max(ts_ns + dur_ns) OVER (
            PARTITION BY trace ORDER BY ts_ns, dur_ns DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS reached_ns
    FROM slices
    WHERE kind IN ('op', 'annotation') AND dur_ns IS NOT NULL
        AND (step_num IS NOT NULL OR starts_with(name, 'ProfilerStep#') AND regexp_matches(name, '^ProfilerStep#\d{1,9}$'))
)
SELECT * EXCLUDE (reached_ns) FROM numbered WHERE reached_ns IS NULL OR host_end_ns > reached_ns;

-- A call of CUDA's or HIP's, by its name, that returns only once the device has done what was asked for: whoever makes it finds
-- the device's queue empty.
CREATE MACRO is_blocking(name) AS regexp_matches(
    name, '^(cuda|cu|hip)(Stream|Device|Event|Ctx)Synchronize|^(cuda|hip)Memcpy(WithStream)?$|^cuMemcpy(DtoH|HtoD)(_v2)?$'
);

-- What a framework's trace calls the loading of a batch: PyTorch's DataLoader, tf.data's iterators, and our own mark of it.
CREATE MACRO is_loading(name) AS regexp_matches(
    name, '^(enumerate\(Data(Loader|Pipe)\)#|(EagerLocalExecute: )?IteratorGetNext|hwprof\.data_wait\.)'
);

-- When each mark was alone: the stretches of it that none of the marks inside it covers. A phase may lie in another one, and marks
-- of one kind overlap then; stretches of one kind never do.
CREATE VIEW own_stretches AS
WITH resumed AS (
    -- from its start on, and again from the end of each mark inside it
    SELECT pass_name, id, ts_ns AS at_ns, ts_ns AS start_ns, 0 AS inner_id FROM marks
    UNION ALL
    SELECT pass_name, parent, ts_ns, ts_ns + dur_ns, id FROM marks WHERE parent IS NOT NULL
),
-- the kind is a mark's own: as a key of the window it lets whoever asks for one kind have that one alone computed
stretches AS (
    SELECT marks.pass_name, id, kind, name, epoch, step, start_ns,
        lead(at_ns, 1, marks.ts_ns + marks.dur_ns) OVER (
            PARTITION BY marks.pass_name, kind, id ORDER BY at_ns, inner_id > 0, start_ns, inner_id
        ) AS end_ns
    FROM marks JOIN resumed USING (pass_name, id)
)
SELECT * FROM stretches WHERE start_ns < end_ns;

-- The GPUs that a run was given, of all that NVML shows.
CREATE VIEW used_gpus AS SELECT DISTINCT pass_name, device, mig FROM gpus WHERE used;

-- Which of them the framework calls device 0: the first by number. None where one is split into instances, for what NVML says
-- of that is of all of them together.
CREATE VIEW first_gpus AS
SELECT pass_name, arg_min(device, TRY_CAST(device AS INTEGER)) AS device
FROM used_gpus GROUP BY pass_name HAVING NOT coalesce(bool_or(mig), false);

-- Steps in which a graph was traced or compiled, once or several times: they are no steady-state steps.
CREATE VIEW steps_that_compiled AS
SELECT DISTINCT pass_name, parent AS id FROM marks WHERE kind = 'phase' AND name = 'compile';

-- Steps of a person's own loop, of whose one pass only a window is profiled, that lay in that window: the marks `profiler` stand
-- before it, after each of its steps, and after it.
CREATE VIEW profiled_steps AS
WITH windows AS (
    SELECT pass_name, min(ts_ns) AS from_ns, max(ts_ns + dur_ns) AS to_ns
    FROM marks WHERE pass_name = 'loop' AND kind = 'phase' AND name = 'profiler' GROUP BY pass_name
)
SELECT marks.pass_name, id, from_ns, to_ns
FROM marks JOIN windows USING (pass_name) WHERE kind = 'step' AND ts_ns BETWEEN from_ns AND to_ns;
