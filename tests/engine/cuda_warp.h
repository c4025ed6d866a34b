// Blocks of four warps on a CPU: threads that ask one another wait until all of them have asked.
#pragma once
#define __device__
#define __host__
#define __shared__ static

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

constexpr int warpSize = 32;
struct position { int x; };
inline thread_local position threadIdx;
inline unsigned thread_bit() { return 1u << threadIdx.x % warpSize; }

class Warp
{
    struct Round
    {
        unsigned asked = 0;
        bool complete = false;
        uint64_t given[32] = {};
    };
    std::mutex guard;
    std::condition_variable changed;
    std::map<unsigned, std::shared_ptr<Round>> open;  // by the threads that take part
    std::shared_ptr<Round> start = std::make_shared<Round>();
    unsigned ended = 0;

    void begin()
    {
        start->complete = start->asked && (start->asked | ended) == ~0u;
        if (start->complete) changed.notify_all();
    }

public:
    unsigned apart = 0;  // threads that run apart from the others

    // those that have not ended and run with this one, once all are here; asked for once
    unsigned running()
    {
        std::unique_lock<std::mutex> lock(guard);
        start->asked |= thread_bit();
        begin();
        changed.wait(lock, [&] { return start->complete; });
        return start->asked & (apart & thread_bit() ? apart : ~apart);
    }

    void end()
    {
        std::unique_lock<std::mutex> lock(guard);
        ended |= thread_bit();
        if (!start->complete) begin();
    }

    // what the threads of a mask give, by thread
    std::shared_ptr<Round> exchange(unsigned mask, uint64_t value)
    {
        std::unique_lock<std::mutex> lock(guard);
        if (!open.count(mask)) open[mask] = std::make_shared<Round>();
        const auto round = open[mask];
        round->given[threadIdx.x % warpSize] = value;
        round->asked |= thread_bit();
        if (round->asked == mask)
        {
            round->complete = true;
            open.erase(mask);
            changed.notify_all();
        }
        changed.wait(lock, [&] { return round->complete; });
        return round;
    }
};

inline thread_local Warp *warp;

inline unsigned __activemask() { return warp->running(); }
template <class T> unsigned __match_any_sync(unsigned mask, T value)
{
    unsigned same = 0;
    const auto round = warp->exchange(mask, (uint64_t)value);
    for (int k = 0; k < 32; k++)
        same |= (mask >> k & 1 && round->given[k] == (uint64_t)value) ? 1u << k : 0;
    return same;
}
inline unsigned __ballot_sync(unsigned mask, bool value)
{
    unsigned found = 0;
    const auto round = warp->exchange(mask, value);
    for (int k = 0; k < 32; k++)
        found |= (mask >> k & 1 && round->given[k]) ? 1u << k : 0;
    return found;
}
inline bool __any_sync(unsigned mask, bool value) { return __ballot_sync(mask, value) != 0; }
inline void __syncwarp(unsigned mask) { warp->exchange(mask, 0); }
#define __popc __builtin_popcount
#define __ffs __builtin_ffs
#define __ffsll __builtin_ffsll

// call a function for each of n threads; the last block may not be complete
template <class Function> void in_blocks(int n, unsigned apart, Function function)
{
    for (int start = 0; start < n; start += 4 * warpSize)
    {
        Warp warps[4];
        for (auto &one : warps) one.apart = apart;
        std::vector<std::thread> threads;
        for (int k = 0; k < 4 * warpSize; k++)
            threads.emplace_back([&, k] {
                threadIdx.x = k;
                warp = warps + k / warpSize;
                if (start + k < n) function(start + k);
                warp->end();
            });
        for (auto &thread : threads) thread.join();
    }
}
