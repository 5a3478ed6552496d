#include "launcher/commands/serve.hpp"

#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <chrono>

#include "launcher/commands/options.hpp"
#include "launcher/text/out.hpp"

namespace launcher::commands {

namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using tcp = boost::asio::ip::tcp;
using Page = std::function<std::string(bool)>;

constexpr std::chrono::seconds patience_with_a_reader{10};

tcp::endpoint endpoint_of(const std::string& where) {
  const std::size_t colon = where.rfind(':');
  std::string address = where.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']')) address = address.substr(1, address.size() - 2);
  unsigned short port = 0;
  const std::string digits = colon == std::string::npos ? "" : where.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  boost::system::error_code none;
  const auto parsed = boost::asio::ip::make_address(address, none);
  if (none || digits.empty() || error != std::errc() || end != digits.data() + digits.size())
    throw UsageError(
        fmt::format("--serve wants an address and a port, as 127.0.0.1:9177 or [::1]:9177, not '{}'", where));
  return {parsed, port};
}

http::response<http::string_body> answer(const http::request<http::string_body>& request, const Page& page) {
  http::response<http::string_body> response{http::status::ok, request.version()};
  response.keep_alive(false);
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    response.result(http::status::method_not_allowed);
  } else if (request.target() != "/metrics") {
    response.result(http::status::not_found);
    response.body() = "the metrics are at /metrics\n";
  } else {
    const bool open = request[http::field::accept].find("application/openmetrics-text") != beast::string_view::npos;
    response.set(http::field::content_type, open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                                 : "text/plain; version=0.0.4; charset=utf-8");
    try {
      response.body() = page(open);
    } catch (const std::exception& error) {
      response.result(http::status::internal_server_error);
      response.body() = printable_lines(error.what());
    }
  }
  response.prepare_payload();
  if (request.method() == http::verb::head) response.body().clear();
  return response;
}

// A reader that is slower than our patience is left.
void serve_one(boost::asio::io_context& context, tcp::socket socket, const Page& page) {
  beast::tcp_stream stream(std::move(socket));
  beast::flat_buffer buffer(8192);
  http::request<http::string_body> request;
  http::response<http::string_body> response;
  stream.expires_after(patience_with_a_reader);
  http::async_read(stream, buffer, request, [&](beast::error_code error, std::size_t) {
    if (error) return;
    response = answer(request, page);
    stream.expires_after(patience_with_a_reader);
    http::async_write(stream, response, [](beast::error_code, std::size_t) {});
  });
  context.restart();
  context.run();
}

}  // namespace

void serve(const std::string& where, const Page& page) {
  boost::asio::io_context context;
  tcp::acceptor acceptor(context, endpoint_of(where), true);
  say(fmt::format("metrics at http://{}/metrics", where));
  while (true) {
    beast::error_code error;
    tcp::socket socket = acceptor.accept(error);
    if (!error) serve_one(context, std::move(socket), page);
  }
}

}  // namespace launcher::commands
