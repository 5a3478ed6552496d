// The answers of a fake QEMU that depend on nothing it does: its version, machines, types and their properties.
#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <string>

namespace fake_qemu {

boost::json::object version();
boost::json::array machines();
boost::json::array cpu_models();
boost::json::object cpu_expansion();
boost::json::array schema();
boost::json::array types();
std::optional<boost::json::array> properties_of(const std::string& type);  // nullopt: no such type

}  // namespace fake_qemu
