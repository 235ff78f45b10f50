// The functions that module.cpp calls, one per topic.
#pragma once

#include <pybind11/pybind11.h>

#include "made.hpp"

namespace nncore::bindings {

/// The entries of the core's tables as dicts.
pybind11::list activation_entries();
pybind11::list loss_entries();
pybind11::list initializer_entries();
pybind11::list optimizer_entries();

void register_runtime(pybind11::module_& m);
void register_functional(pybind11::module_& m);
void register_losses(pybind11::module_& m);
void register_parameters(pybind11::module_& m);
void register_optimizers(pybind11::module_& m);
void register_network(pybind11::module_& m);

}  // namespace nncore::bindings
