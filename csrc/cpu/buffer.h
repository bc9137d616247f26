// Working memory of a kernel.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

namespace vaefast {
namespace {

// n elements, not initialised, aligned to a cache line, with a line to spare behind them.
template <class F>
class Buffer {
public:
    explicit Buffer(int64_t n)
        : data_(static_cast<F*>(std::aligned_alloc(64, (size_t(n) * sizeof(F) + 63) / 64 * 64 + 64))) {
        if (!data_) throw std::bad_alloc();
    }
    ~Buffer() { std::free(data_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    F* data() { return data_; }
    operator F*() { return data_; }
    operator const F*() const { return data_; }

private:
    F* data_;
};

}  // namespace
}  // namespace vaefast
