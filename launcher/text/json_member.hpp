// Members of a JSON value that somebody else wrote: what is not there, or of another kind, is nothing.
#pragma once

#include <boost/json/fwd.hpp>
#include <string>
#include <string_view>

namespace launcher::inline text {

const boost::json::value* member(const boost::json::value& value, std::string_view name);
std::string text_of(const boost::json::value* value);

}  // namespace launcher::text
