// Workspace: the temporary memory of a network's calls.
#pragma once

#include <memory>

namespace nncore {

template <class T>
struct Arena;

/// Memory that calls of networks reuse: it grows to the largest batch seen and is then kept. Only one call at
/// a time may use it; concurrent calls need one each. Its contents are private to the network.
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
