/// The free functions of the original TFaaS client, for programs written against its TFClient.h.
///
/// Unlike that header, this one leaves namespace std closed.
#pragma once

#include <iostream>
#include <string>
#include <vector>

#include "tfaas.pb.h"

/// Posts a serialised `tfaaspb::Row` to `url`, such as `http://localhost:8083/proto`.
///
/// A failure is one line on standard error and an empty answer. The environment may name a client certificate, see
/// `tfaas::options_from_environment`. May be called from any number of threads.
tfaaspb::Predictions tfaasRequest(const std::string& url, const std::string& input);

/// The outputs of `model` for one event, `values[i]` being that of `attrs[i]`; fails as `tfaasRequest`.
tfaaspb::Predictions predict(
    const std::string& url, const std::string& model, const std::vector<std::string>& attrs,
    const std::vector<float>& values);
