// JSON for people and for diff(1): keys sorted, one value a line. The rule: equal values are equal bytes.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>

namespace launcher::inline record {

std::string pretty(const boost::json::value& value);  // ends with a line's end

}  // namespace launcher::record
