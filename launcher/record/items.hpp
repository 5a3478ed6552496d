// A lock's parts as named values: a command line by option and key, JSON by the path of each value.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

#include "launcher/record/fact.hpp"

namespace launcher::inline record {

inline constexpr const char* order_item = "order of the options";
Values argv_items(const boost::json::array& argv);
Values step_items(const boost::json::array& steps);
void flatten(const boost::json::value& value, const std::string& path, Values& into);  // "placement.vcpus[0].cpu"

}  // namespace launcher::record
