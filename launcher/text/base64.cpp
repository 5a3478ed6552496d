#include "launcher/text/base64.hpp"

#include <algorithm>
#include <boost/archive/iterators/base64_from_binary.hpp>
#include <boost/archive/iterators/binary_from_base64.hpp>
#include <boost/archive/iterators/transform_width.hpp>

namespace launcher::inline text {

namespace codec = boost::archive::iterators;

std::string base64(std::string_view bytes) {
  using Encoder = codec::base64_from_binary<codec::transform_width<std::string_view::const_iterator, 6, 8>>;
  std::string text(Encoder(bytes.begin()), Encoder(bytes.end()));
  text.append((3 - bytes.size() % 3) % 3, '=');
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  using Decoder = codec::transform_width<codec::binary_from_base64<std::string_view::const_iterator>, 8, 6>;
  const std::size_t end = std::min(text.find('='), text.size()), padding = text.size() - end;
  if (end % 4 == 1 || padding > 2 || (padding != 0 && (end + padding) % 4 != 0) ||
      text.find_first_not_of('=', end) != text.npos)
    return std::nullopt;
  text = text.substr(0, end);
  try {
    std::string bytes;
    Decoder next(text.begin());
    for (std::size_t left = end * 6 / 8; left > 0; --left, ++next) bytes += *next;
    return bytes;
  } catch (const codec::dataflow_exception&) {
    return std::nullopt;
  }
}

}  // namespace launcher::text
