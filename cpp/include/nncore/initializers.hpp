// Initializers: the initial values of parameters.
#pragma once

#include <cstdint>

#include "nncore/entries.hpp"
#include "nncore/random.hpp"

namespace nncore {

enum class InitializerKind { zeros, constant, glorot_uniform, glorot_normal, he_uniform, he_normal, normal };

/// An initializer: its kind and parameters. Parameters that the kind does not use are 0.
struct Initializer {
  InitializerKind kind = InitializerKind::zeros;
  double value = 0.0;               ///< of constant
  double standard_deviation = 0.0;  ///< of normal

  /// Sets the parameters to the defaults of the kind's entry.
  constexpr Initializer(
      InitializerKind kind = InitializerKind::zeros);  // NOLINT(google-explicit-constructor)
  bool operator==(const Initializer&) const = default;
};

/// The distribution that an initializer draws from.
enum class Distribution { constant, uniform, normal };
/// The fan in the scale of an initializer: for a weight (O, I), `in` is I and `in_and_out` is I + O.
enum class Fan { none, in, in_and_out };

/// What the library knows about one initializer.
struct InitializerEntry {
  InitializerKind kind;
  const char* name;        ///< used in C++, Python, files and documentation
  const char* class_name;  ///< the Python class
  Parameter<Initializer> parameters[1] = {};
  Distribution distribution = Distribution::constant;
  Fan fan = Fan::none;     ///< if not none, the initializer is for weights only
  double numerator = 0.0;  ///< with a fan, the scale is sqrt(numerator / fan)
  const char* summary;     ///< docstring of the Python class
};

/// One entry for each kind, in the order of InitializerKind.
inline constexpr InitializerEntry kInitializers[] = {
    {.kind = InitializerKind::zeros, .name = "zeros", .class_name = "Zeros", .summary = "All zeros."},
    {.kind = InitializerKind::constant,
     .name = "constant",
     .class_name = "Constant",
     .parameters = {{"value", &Initializer::value, 0.0, kAnyNumber, "the value of every element"}},
     .summary = "Every element is `value`."},
    {.kind = InitializerKind::glorot_uniform,
     .name = "glorot_uniform",
     .class_name = "GlorotUniform",
     .distribution = Distribution::uniform,
     .fan = Fan::in_and_out,
     .numerator = 6.0,
     .summary = "Uniform in (-a, a), a = sqrt(6 / (I + O)) (Glorot and Bengio 2010). Weights only."},
    {.kind = InitializerKind::glorot_normal,
     .name = "glorot_normal",
     .class_name = "GlorotNormal",
     .distribution = Distribution::normal,
     .fan = Fan::in_and_out,
     .numerator = 2.0,
     .summary = "Normal with variance 2 / (I + O) (Glorot and Bengio 2010). Weights only."},
    {.kind = InitializerKind::he_uniform,
     .name = "he_uniform",
     .class_name = "HeUniform",
     .distribution = Distribution::uniform,
     .fan = Fan::in,
     .numerator = 6.0,
     .summary = "Uniform in (-a, a), a = sqrt(6 / I) (He et al. 2015). Weights only."},
    {.kind = InitializerKind::he_normal,
     .name = "he_normal",
     .class_name = "HeNormal",
     .distribution = Distribution::normal,
     .fan = Fan::in,
     .numerator = 2.0,
     .summary = "Normal with variance 2 / I (He et al. 2015). Weights only."},
    {.kind = InitializerKind::normal,
     .name = "normal",
     .class_name = "Normal",
     .parameters = {{"standard_deviation", &Initializer::standard_deviation, 1.0, kNotNegative,
                     "the standard deviation"}},
     .distribution = Distribution::normal,
     .summary = "Normal with mean 0, the default of embeddings."},
};
static_assert(is_in_order(kInitializers));

/// The entry of a kind.
constexpr const InitializerEntry& entry_of(InitializerKind kind) {
  return kInitializers[static_cast<std::size_t>(kind)];
}

constexpr Initializer::Initializer(InitializerKind kind_) : kind(kind_) {
  for (const Parameter<Initializer>& parameter : entry_of(kind_).parameters)
    if (parameter.name != nullptr) this->*parameter.field = parameter.initial;
}

/// Throws std::invalid_argument if a parameter is out of range.
void validate(const Initializer& initializer);

/// Fills `out` with `count` initial values of a segment; element i depends on `stream` and i only. fan_in is
/// the number of inputs that each output of a weight sums, fan_out the number of outputs that each input
/// feeds.
template <class T>
void initialize(const Initializer& initializer, RandomStream stream, std::int64_t fan_in,
                std::int64_t fan_out, T* out, std::int64_t count);

}  // namespace nncore
