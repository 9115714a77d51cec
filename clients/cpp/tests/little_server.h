/// A server on a free port of this machine that answers as a test has it.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

struct Received {
    std::string path;  // with the query
    std::string body;
};

inline std::string response(
    int status, const std::string& body, const std::string& content_type = "application/json",
    const std::string& more = "") {
    return "HTTP/1.1 " + std::to_string(status) + " Status\r\nContent-Type: " + content_type +
           "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + more + "\r\n" + body;
}

class LittleServer {
public:
    /// What is written for a request; an empty answer closes the connection, as does one that ends in `hang_up`.
    using Answer = std::function<std::string(const Received&)>;
    static constexpr auto hang_up = "[hang up]";

    explicit LittleServer(Answer answer) : answer_(std::move(answer)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
        listen(listener_, 64);
        getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
        url = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
        acceptor_ = std::thread([this] { accept_all(); });
    }

    ~LittleServer() {
        shutdown(listener_, SHUT_RDWR);
        acceptor_.join();
        close(listener_);
        const std::lock_guard lock(mutex_);
        for (auto& connection : connections_) {
            shutdown(connection.socket, SHUT_RDWR);
        }
        for (auto& connection : connections_) {
            connection.thread.join();
            close(connection.socket);
        }
    }

    LittleServer(const LittleServer&) = delete;
    LittleServer& operator=(const LittleServer&) = delete;

    std::string url;
    std::atomic<int> accepted{0};
    std::atomic<int> requests{0};

private:
    struct Connection {
        int socket;
        std::thread thread;
    };

    void accept_all() {
        for (int socket = accept(listener_, nullptr, nullptr); socket >= 0;
             socket = accept(listener_, nullptr, nullptr)) {
            ++accepted;
            const std::lock_guard lock(mutex_);
            connections_.push_back({socket, std::thread([this, socket] { serve(socket); })});
        }
    }

    void serve(int socket) {
        std::string bytes;
        Received request;
        while (read_request(socket, bytes, request)) {
            ++requests;
            auto answer = answer_(request);
            const auto cut = answer.rfind(hang_up);
            const bool closes = answer.empty() || cut != std::string::npos;
            answer.resize(std::min(cut, answer.size()));
            if (!send_all(socket, answer) || closes) {
                break;
            }
        }
        shutdown(socket, SHUT_RDWR);
    }

    static bool send_all(int socket, const std::string& bytes) {
        for (std::size_t sent = 0; sent < bytes.size();) {
            const auto count = send(socket, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
            if (count <= 0) {
                return false;
            }
            sent += static_cast<std::size_t>(count);
        }
        return true;
    }

    static bool read_request(int socket, std::string& bytes, Received& request) {
        std::size_t head = 0;
        while ((head = bytes.find("\r\n\r\n")) == std::string::npos) {
            if (!read_more(socket, bytes)) {
                return false;
            }
        }
        const auto start = bytes.find(' ') + 1;
        request.path = bytes.substr(start, bytes.find(' ', start) - start);
        const auto length = bytes.find("Content-Length: ");
        const auto size = length < head ? std::stoul(bytes.substr(length + 16)) : 0;
        while (bytes.size() < head + 4 + size) {
            if (!read_more(socket, bytes)) {
                return false;
            }
        }
        request.body = bytes.substr(head + 4, size);
        bytes.erase(0, head + 4 + size);
        return true;
    }

    static bool read_more(int socket, std::string& bytes) {
        std::vector<char> buffer(1U << 16U);
        const auto count = recv(socket, buffer.data(), buffer.size(), 0);
        if (count > 0) {
            bytes.append(buffer.data(), static_cast<std::size_t>(count));
        }
        return count > 0;
    }

    Answer answer_;
    int listener_;
    std::thread acceptor_;
    std::mutex mutex_;
    std::list<Connection> connections_;
};
