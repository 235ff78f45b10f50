// A pool of idle calls: each thread that predicts takes one and returns it afterwards.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "network_call.hpp"

namespace nncore::bindings {

template <class T>
class CallPool {
 public:
  std::unique_ptr<NetworkCall<T>> take() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) {
      idle_.reserve(++calls_);  // so that give_back() cannot fail
      return std::make_unique<NetworkCall<T>>();
    }
    std::unique_ptr<NetworkCall<T>> call = std::move(idle_.back());
    idle_.pop_back();
    return call;
  }

  void give_back(std::unique_ptr<NetworkCall<T>> call) noexcept {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(call));
  }

 private:
  std::mutex mutex_;
  std::size_t calls_ = 0;  ///< all calls, idle or in use
  std::vector<std::unique_ptr<NetworkCall<T>>> idle_;
};

/// Holds a call of a pool while it lives.
template <class T>
class Lease {
 public:
  explicit Lease(CallPool<T>& pool) : pool_(pool), call_(pool.take()) {}
  ~Lease() {
    call_->forget_arguments();
    pool_.give_back(std::move(call_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  NetworkCall<T>& operator*() const { return *call_; }
  NetworkCall<T>* operator->() const { return call_.get(); }

 private:
  CallPool<T>& pool_;
  std::unique_ptr<NetworkCall<T>> call_;
};

}  // namespace nncore::bindings
