#include "launcher/commands/serve.hpp"

#include <fmt/format.h>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <chrono>
#include <memory>
#include <utility>

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

// One reader. One that is slower than our patience is left.
struct Session : std::enable_shared_from_this<Session> {
  beast::tcp_stream stream;
  std::shared_ptr<void> place;  // among those that are served at once
  beast::flat_buffer buffer{8192};
  http::request<http::string_body> request;
  http::response<http::string_body> response;

  Session(tcp::socket socket, std::shared_ptr<void> held) : stream(std::move(socket)), place(std::move(held)) {}

  void begin(const Page& page) {
    stream.expires_after(patience_with_a_reader);
    http::async_read(stream, buffer, request, [self = shared_from_this(), &page](beast::error_code error, std::size_t) {
      if (error) return;
      self->response = answer(self->request, page);
      self->stream.expires_after(patience_with_a_reader);
      http::async_write(self->stream, self->response, [self](beast::error_code, std::size_t) {});
    });
  }
};

// So many readers at once, whom those who connect and say nothing keep out for no longer than our patience with one of them.
class Server {
 public:
  Server(boost::asio::io_context& context, const tcp::endpoint& where, const Page& page)
      : acceptor_(context, where, true), again_(context), page_(page) {
    accept();
  }

 private:
  static constexpr unsigned most_at_once = 64;

  void accept() {
    waits_ = true;
    acceptor_.async_accept([this](beast::error_code error, tcp::socket socket) {
      waits_ = false;
      if (error) return accept_later();  // no descriptors left, say
      ++open_;
      const std::shared_ptr<void> place(nullptr, [this](void*) {
        --open_;
        if (!waits_) accept();
      });
      std::make_shared<Session>(std::move(socket), place)->begin(page_);
      if (open_ < most_at_once) accept();
    });
  }

  void accept_later() {
    waits_ = true;
    again_.expires_after(std::chrono::milliseconds(100));
    again_.async_wait([this](beast::error_code) { accept(); });
  }

  tcp::acceptor acceptor_;
  boost::asio::steady_timer again_;
  const Page& page_;
  unsigned open_ = 0;
  bool waits_ = false;
};

}  // namespace

void serve(const std::string& where, const Page& page) {
  boost::asio::io_context context;
  const Server server(context, endpoint_of(where), page);
  say(fmt::format("metrics at http://{}/metrics", where));
  context.run();
}

}  // namespace launcher::commands
