#include "launcher/text/base64.hpp"

#include <boost/beast/core/detail/base64.hpp>

namespace launcher::inline text {

namespace codec = boost::beast::detail::base64;

std::string base64(std::string_view bytes) {
  std::string text(codec::encoded_size(bytes.size()), '\0');
  text.resize(codec::encode(text.data(), bytes.data(), bytes.size()));
  return text;
}

std::optional<std::string> from_base64(std::string_view text) {
  std::string bytes(codec::decoded_size(text.size() + 3), '\0');
  const auto [written, read] = codec::decode(bytes.data(), text.data(), text.size());
  if (text.substr(read).find_first_not_of('=') != text.npos || text.size() - read > 2) return std::nullopt;
  bytes.resize(written);
  return bytes;
}

}  // namespace launcher::text
