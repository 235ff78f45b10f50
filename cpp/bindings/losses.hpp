// Losses and their parameters as Python gives them.
#pragma once

#include <pybind11/pybind11.h>

#include "nncore/losses.hpp"

namespace nncore::bindings {

namespace py = pybind11;

/// A parameter: a number, or where `is_vector` a sequence of numbers. TypeError for anything else.
Numbers as_numbers(py::handle given, const char* name, bool is_vector);

/// What `_core.entries` says of the losses.
py::list loss_entries();

}  // namespace nncore::bindings
