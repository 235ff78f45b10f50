// Workspace: the memory of one running call.
#pragma once

#include <memory>

namespace nncore {

template <class T>
struct Arena;

/// Memory that a network's calls reuse: it grows to the largest batch seen and then stays. One call at a time
/// may use it. What lies in it is the network's business.
template <class T>
class Workspace {
 public:
  Workspace();
  ~Workspace();
  Workspace(Workspace&&) noexcept;
  Workspace& operator=(Workspace&&) noexcept;

 private:
  template <class>
  friend class Network;
  std::unique_ptr<Arena<T>> arena_;
};

}  // namespace nncore
