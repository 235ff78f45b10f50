#include "runtime/interrupts.hpp"

#include <chrono>
#include <limits>
#include <utility>

#include "nncore/runtime.hpp"

namespace nncore {
namespace {

constexpr std::int64_t kInterval = 40'000'000;  ///< nanoseconds

std::int64_t now() {
  using std::chrono::nanoseconds;
  const auto since_start = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<nanoseconds>(since_start).count();
}

constinit thread_local Interruptible* current = nullptr;
constinit thread_local const std::atomic<bool>* has_region_ended = nullptr;

}  // namespace

void Interruptible::begin() { outer_ = std::exchange(current, this); }

Interruptible::~Interruptible() { current = outer_; }

void Interruptible::ask_if_due() {
  const std::int64_t time = now();
  if (due_ == 0) due_ = time + kInterval;
  if (time < due_) return;
  const Uninterruptible asking;  // the callback may call the library
  due_ = std::numeric_limits<std::int64_t>::max();
  if (ask_(object_)) due_ = now() + kInterval;
}

Uninterruptible::Uninterruptible() : outer_(std::exchange(current, nullptr)) {}

Uninterruptible::~Uninterruptible() { current = outer_; }

StopSignal::StopSignal(const std::atomic<bool>* has_ended)
    : outer_(std::exchange(has_region_ended, has_ended)) {}

StopSignal::~StopSignal() { has_region_ended = outer_; }

bool is_interruptible() { return current != nullptr; }

void check_interrupt() {
  if (current != nullptr) return current->ask_if_due();
  if (has_region_ended != nullptr && has_region_ended->load(std::memory_order_relaxed)) throw Stopped{};
}

}  // namespace nncore
