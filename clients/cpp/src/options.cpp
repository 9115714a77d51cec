#include "tfaas/options.h"

#include <cstdlib>

namespace tfaas {
namespace {

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : value;
}

}  // namespace

Options options_from_environment() {
    Options options;
    options.token = environment("TFAAS_TOKEN");
    options.certificate = environment("X509_USER_PROXY");
    options.authorities = environment("X509_CERT_DIR");
    return options;
}

}  // namespace tfaas
