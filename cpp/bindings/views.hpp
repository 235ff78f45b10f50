// Writable views of memory that C++ objects own.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <memory>

namespace nncore::bindings {

namespace py = pybind11;

/// A capsule for writable views that keeps their owner alive and ends the borrow when the last view is gone.
template <class Owner>
py::capsule borrow(const std::shared_ptr<Owner>& lender) {
  auto held = std::make_unique<std::shared_ptr<Owner>>(lender);
  py::capsule owner(held.get(), [](void* pointer) {
    const std::unique_ptr<std::shared_ptr<Owner>> lender(static_cast<std::shared_ptr<Owner>*>(pointer));
    (*lender)->end_borrow();
  });
  held.release();
  lender->begin_borrow();
  return owner;
}

/// A writable flat view that keeps `owner` alive.
template <class T>
py::array flat_view(T* data, std::int64_t count, py::handle owner) {
  return py::array(py::dtype::of<T>(), py::array::ShapeContainer{static_cast<py::ssize_t>(count)},
                   py::array::StridesContainer{static_cast<py::ssize_t>(sizeof(T))}, data, owner);
}

}  // namespace nncore::bindings
