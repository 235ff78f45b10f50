// Losses: the class that carries a kind and its parameters, and of each entry two functions on NumPy arrays.
#include <pybind11/stl.h>

#include <span>
#include <string>
#include <utility>

#include "arrays.hpp"
#include "calls.hpp"
#include "entries.hpp"
#include "functional.hpp"
#include "guards.hpp"
#include "losses.hpp"
#include "names.hpp"
#include "register.hpp"

namespace nncore::bindings {

Numbers as_numbers(py::handle given, const char* name, bool is_vector) {
  const auto refuse = [&](const std::string& got) {
    throw py::type_error(std::string(name) + " must be a number" +
                         (is_vector ? " or a sequence of numbers" : "") + "; got " + got);
  };
  const auto number = [&](py::handle item) {
    const double value = PyNumber_Check(item.ptr()) ? PyFloat_AsDouble(item.ptr()) : -1.0;
    if (!PyNumber_Check(item.ptr()) || PyErr_Occurred()) {
      PyErr_Clear();
      refuse(Py_TYPE(item.ptr())->tp_name);
    }
    return value;
  };
  const bool is_scalar = is_array(given) && py::reinterpret_borrow<py::array>(given).ndim() == 0;
  const bool is_text = PyUnicode_Check(given.ptr()) || PyBytes_Check(given.ptr());
  if (is_scalar || is_text || !PySequence_Check(given.ptr())) return {number(given), {}};
  Numbers numbers;
  for (const py::handle item : py::tuple(py::reinterpret_borrow<py::object>(given)))
    numbers.each.push_back(number(item));
  if (!is_vector || numbers.each.empty()) refuse(std::to_string(numbers.each.size()) + " numbers");
  return numbers;
}

namespace {

py::object as_python(const Numbers& numbers) {
  if (numbers.each.empty()) return py::float_(numbers.one);
  return py::tuple(py::cast(numbers.each));
}

py::tuple loss_names() {
  py::tuple names(kLossCount);
  for (std::size_t i = 0; i < kLossCount; ++i) names[i] = kLosses[i].name;
  return names;
}

Loss make_loss(std::string_view kind, const py::kwargs& parameters) {
  const LossEntry* const entry = find_entry(kLosses, kind);
  if (entry == nullptr) refuse_name("loss", kind, loss_names());
  Loss loss(entry->kind);
  std::size_t used = 0;
  for (std::size_t i = 0; i < parameter_count(*entry); ++i) {
    const auto& parameter = entry->parameters[i];
    if (!parameters.contains(parameter.name)) continue;
    loss.*parameter.field = as_numbers(parameters[parameter.name], parameter.name, parameter.is_vector);
    ++used;
  }
  for (const auto& item : parameters) {
    const auto name = item.first.cast<std::string>();
    if (used == parameters.size()) break;
    const auto is_it = [&](const auto& parameter) {
      return parameter.name != nullptr && name == parameter.name;
    };
    if (std::none_of(std::begin(entry->parameters), std::end(entry->parameters), is_it))
      throw py::type_error(std::string(entry->name) + " has no parameter '" + name + "'");
  }
  validate(loss);
  return loss;
}

py::dict parameters_of(const Loss& loss) {
  py::dict parameters;
  const LossEntry& entry = entry_of(loss.kind);
  for (std::size_t i = 0; i < parameter_count(entry); ++i)
    parameters[entry.parameters[i].name] = as_python(loss.*entry.parameters[i].field);
  return parameters;
}

// nncore.functional ------------------------------------------------------------------------------------

constexpr const char* kReductionNames[] = {"mean", "sum", "none"};

Reduction reduction_of(std::string_view text) {
  for (int i = 0; i < 3; ++i)
    if (text == kReductionNames[i]) return static_cast<Reduction>(i);
  refuse_name("reduction", text, py::make_tuple("mean", "sum", "none"));
}

/// The arguments of a loss, and of its gradient the two at the end: prediction, target, the parameters of the
/// entry, sample_weight, reduction, out, accumulate.
constexpr std::size_t argument_count(LossKind kind, bool with_gradient) {
  return 4 + parameter_count(entry_of(kind)) + (with_gradient ? 2 : 0);
}

template <LossKind kind, bool with_gradient>
Signature<argument_count(kind, with_gradient)> make_signature() {
  std::string text = "(prediction, target, *";
  text += parameters_text(entry_of(kind));
  text += ", sample_weight=None, reduction='mean'";
  if (with_gradient) text += ", out=None, accumulate=False";
  return Signature<argument_count(kind, with_gradient)>((new std::string(text + ")"))->c_str());
}

template <LossKind kind, bool with_gradient>
const Signature<argument_count(kind, with_gradient)> kLossSignature = make_signature<kind, with_gradient>();

/// The arguments that a loss and its gradient share.
struct LossArguments {
  LossArguments(LossKind kind, std::span<PyObject* const> given)
      : loss(kind), prediction(as_array(given[0], "prediction")), target(as_array(given[1], "target")) {
    const LossEntry& entry = entry_of(kind);
    const std::size_t count = parameter_count(entry);
    for (std::size_t i = 0; i < count; ++i) {
      const auto& parameter = entry.parameters[i];
      if (given[2 + i] != nullptr)
        loss.*parameter.field = as_numbers(given[2 + i], parameter.name, parameter.is_vector);
    }
    validate(loss);
    sample_weight = as_optional_array(given[2 + count], "sample_weight");
    reduction = reduction_of(as_text(given[3 + count], "reduction", "mean"));
  }

  Loss loss;
  py::array prediction, target;
  OptionalArray sample_weight;
  Reduction reduction;
};

/// The same, checked.
template <class T>
struct LossCall {
  explicit LossCall(const LossArguments& given)
      : loss(given.loss),
        prediction(input_matrix<T>(given.prediction, "prediction", {Layout::contiguous_rows})),
        sample_weight(read_weight(given.sample_weight, prediction.rows)),
        target(given.loss, given.target, prediction, sample_weight),
        reduction(given.reduction) {
    if (reduction == Reduction::none) values = new_array<T>(prediction.rows);
  }

  py::object run(Matrix<T> gradient, bool accumulate) {
    T* each = values ? static_cast<T*>(values->mutable_data()) : nullptr;
    const double flops = static_cast<double>(prediction.rows * prediction.columns) * kFlopsPerElement;
    const double value = compute(flops, [&] {
      return loss_and_gradient<T>(loss, prediction, target.target, sample_weight, reduction, each, gradient,
                                  1.0, accumulate);
    });
    if (values) return *values;
    return py::float_(value);
  }

  static const T* read_weight(const OptionalArray& given, std::int64_t rows) {
    if (!given) return nullptr;
    const T* const weight = input_vector<T>(*given, "sample_weight", rows);
    if (!check_sample_weight("sample_weight", table(weight, rows, 1), nullptr, 0, rows))
      throw py::value_error("sample_weight must be positive for a sample at least; got 0 for all");
    return weight;
  }

  const Loss& loss;
  Matrix<const T> prediction;
  const T* sample_weight;
  LossTarget<T> target;
  Reduction reduction;
  OptionalArray values;
};

py::object loss_value(const LossArguments& given) {
  return with_precision_of(given.prediction, "prediction",
                           [&]<class T>(T) { return LossCall<T>(given).run({}, false); });
}

py::object loss_with_gradient(const LossArguments& given, PyObject* given_out, PyObject* given_accumulate) {
  const OptionalArray out = as_optional_array(given_out, "out");
  const bool accumulate = as_flag(given_accumulate, "accumulate");
  check_accumulate(accumulate, out.has_value());
  return with_precision_of(given.prediction, "prediction", [&]<class T>(T) -> py::object {
    LossCall<T> call(given);
    const py::array result = out ? *out : new_like<T>(given.prediction);
    const Matrix<T> gradient = output_matrix<T>(
        result, "out", {Layout::contiguous_rows, call.prediction.rows, call.prediction.columns});
    if (out) {
      check_no_overlap(result, "out", given.prediction, "prediction", true);
      check_no_overlap(result, "out", given.target, "target");
      if (given.sample_weight) check_no_overlap(result, "out", *given.sample_weight, "sample_weight");
    }
    const py::object value = call.run(gradient, accumulate);
    return py::make_tuple(value, result);
  });
}

template <LossKind kind>
py::object call_loss(const Arguments<argument_count(kind, false)>& arguments) {
  return loss_value({kind, arguments});
}

template <LossKind kind>
py::object call_loss_and_gradient(const Arguments<argument_count(kind, true)>& arguments) {
  return loss_with_gradient({kind, arguments}, arguments[arguments.size() - 2], arguments.back());
}

/// What the docstrings of both functions say of the arguments.
std::string argument_text(const LossEntry& entry) {
  std::string text = "\n\nprediction: (B, O) with contiguous rows";
  if (entry.target_features == same_features)
    text += ". target: (B, O) of the same dtype";
  else
    text += std::string(" and ") + entry.outputs + ".\ntarget: (B, K) of the same dtype";
  if (entry.takes_labels) text += ", or labels (B,) or (B, 1) of any\ninteger dtype, each in [0, O)";
  if (entry.targets) text += std::string(", each ") + entry.targets->text;
  for (std::size_t i = 0; i < parameter_count(entry); ++i) {
    const auto& parameter = entry.parameters[i];
    text += std::string(".\n") + parameter.name + ": " + parameter.meaning + ",\n" + parameter.range.text;
    if (parameter.is_vector) text += ", or a sequence of one for each column of the target";
  }
  return text +
         ".\nsample_weight w: (B,), finite and >= 0, or None: ones. reduction: \"mean\", sum w l / sum w; "
         "\"sum\",\n"
         "sum w l; \"none\", an array (B,) of each w l.";
}

template <LossKind kind>
void register_loss(py::module_& m) {
  constexpr const LossEntry& entry = entry_of(kind);
  const std::string arguments = argument_text(entry), name = entry.name;
  define<kLossSignature<kind, false>, call_loss<kind>>(
      m, name, name + ", of one sample: l = " + entry.value + "." + arguments + kArrayRules);
  define<kLossSignature<kind, true>, call_loss_and_gradient<kind>>(
      m, name + "_and_gradient",
      name + " and its gradient with respect to the prediction, of one sample: " + entry.gradient +
          ".\n\nReturns (value, gradient)." + arguments +
          "\nout: the gradient, (B, O) with contiguous rows; may be prediction itself. accumulate: add to "
          "out instead of\n"
          "replacing it. With reduction=\"none\" the gradient is that of the sum." +
          kArrayRules);
}

template <std::size_t... i>
void register_functions(py::module_& m, std::index_sequence<i...>) {
  (register_loss<static_cast<LossKind>(i)>(m), ...);
}

// _core.entries ----------------------------------------------------------------------------------------

py::dict describe(const LossEntry& entry) {
  py::list kinks;
  for (const std::optional<Kink>& kink : entry.kinks) {
    if (!kink) continue;
    py::object parameter = py::none();
    for (std::size_t i = 0; i < parameter_count(entry); ++i)
      if (entry.parameters[i].field == kink->parameter) parameter = py::str(entry.parameters[i].name);
    kinks.append(py::make_tuple(kink->factor, parameter));
  }
  py::dict described = describe_entry(entry);
  described["alias"] = entry.alias;
  described["takes_labels"] = entry.takes_labels;
  described["same_features"] = entry.target_features == same_features;
  described["targets"] = entry.targets ? py::object(describe_range(*entry.targets)) : py::none();
  described["least_outputs"] = entry.least_outputs;
  described["outputs"] = entry.outputs;
  described["activation"] =
      entry.fused ? py::object(py::str(entry_of(entry.fused->activation.kind).name)) : py::none();
  described["from_logits"] =
      entry.fused ? py::object(py::str(entry_of(entry.fused->from_logits).name)) : py::none();
  described["by_row"] = entry.by_row;
  described["averages_columns"] = entry.averages_columns;
  described["kinks"] = kinks;
  described["accuracy"] = kAccuracyNames[static_cast<int>(entry.accuracy)];
  described["value"] = entry.value;
  described["gradient"] = entry.gradient;
  return described;
}

}  // namespace

py::list loss_entries() {
  py::list entries;
  for (const LossEntry& entry : kLosses) entries.append(describe(entry));
  return entries;
}

void register_losses(py::module_& m) {
  py::class_<Loss>(m, "Loss", "A kind of loss, by its name or alias, with its parameters by name.")
      .def(py::init(&make_loss), py::arg("kind"))
      .def_property_readonly("kind", [](const Loss& loss) { return entry_of(loss.kind).name; })
      .def_property_readonly("parameters", &parameters_of, "All of them: floats, or tuples of floats.")
      .def(
          "target_features",
          [](const Loss& loss, std::int64_t output_features) {
            return target_width(loss, "output", output_features);
          },
          py::arg("output_features"), "The width of the target of an output. ValueError where it has none.");
  register_functions(m, std::make_index_sequence<kLossCount>());
}

}  // namespace nncore::bindings
