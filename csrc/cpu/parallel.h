// Work over threads: rows in equal ranges, or tasks as they come. No result depends on who does what, so the number of
// threads never changes a bit of the output.
#pragma once

#include <cstdint>

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace vaefast {

// Under this many elements a thread costs more than it saves.
constexpr int64_t kGrain = 16384;

template <class Body>
static inline void parallel_rows(int64_t rows, int64_t row_elements, int threads, const Body& body) {
    const int64_t elements = rows * (row_elements > 0 ? row_elements : 1);
    const int64_t useful = elements / kGrain;
    int64_t parts = threads < useful ? threads : useful;
    if (parts > rows) parts = rows;
#if defined(_OPENMP)
    if (parts > 1) {
#pragma omp parallel for num_threads(int(parts)) schedule(static, 1)
        for (int64_t part = 0; part < parts; ++part) body(rows * part / parts, rows * (part + 1) / parts);
        return;
    }
#endif
    if (rows > 0) body(int64_t(0), rows);
}

// body(i) for i < tasks, in any order and by any thread; for tasks that have results of their own.
template <class Body>
static inline void parallel_tasks(int64_t tasks, int threads, const Body& body) {
#if defined(_OPENMP)
    if (threads > 1 && tasks > 1) {
#pragma omp parallel for num_threads(int(threads < tasks ? threads : tasks)) schedule(dynamic, 1)
        for (int64_t i = 0; i < tasks; ++i) body(i);
        return;
    }
#endif
    for (int64_t i = 0; i < tasks; ++i) body(i);
}

}  // namespace vaefast
