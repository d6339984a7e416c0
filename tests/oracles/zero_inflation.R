# Maximum likelihood of NB and ZINB per gene, and edgeR's Cox-Reid dispersion, as JSON:
#   cd tests/oracles && Rscript zero_inflation.R > zero_inflation.json
# Debian: r-base-core r-cran-mass r-cran-pscl r-bioc-edger r-cran-jsonlite. The tests read the JSON.
suppressMessages({library(MASS); library(pscl); library(edgeR)})

data <- read.csv("zero_inflation_counts.csv")
offset <- data$log_mean
starts <- list(NULL, list(count = 0, zero = -3, theta = 1), list(count = 1, zero = 0, theta = 3))

best_zinb <- function(x) {
  # several starts: pscl climbs by BFGS and stops short on genes near the edge
  fits <- lapply(starts, function(start) tryCatch({
    control <- zeroinfl.control(reltol = 1e-15, maxit = 10000, start = start)
    suppressWarnings(zeroinfl(x ~ 1 + offset(offset) | 1, dist = "negbin", control = control))
  }, error = function(e) NULL))
  fits <- Filter(Negate(is.null), fits)
  fits[[which.max(sapply(fits, function(fit) fit$loglik))]]
}

best_nb <- function(x) {
  # glm.nb's own start of theta fails on some genes: then stats::optim over dnbinom
  control <- glm.control(epsilon = 1e-14, maxit = 500)
  tryCatch({
    fit <- suppressWarnings(glm.nb(x ~ 1 + offset(offset), control = control))
    list(loglik = as.numeric(logLik(fit)), theta = fit$theta, scale = unname(coef(fit)))
  }, error = function(e) {
    deviance <- function(p) -sum(dnbinom(x, size = exp(p[2]), mu = exp(p[1] + offset), log = TRUE))
    fit <- optim(c(log(mean(x)), 0), deviance, control = list(reltol = 1e-16, maxit = 10000))
    list(loglik = -fit$value, theta = exp(fit$par[2]), scale = fit$par[1])
  })
}

fit_gene <- function(x) {
  nb <- best_nb(x)
  zinb <- best_zinb(x)
  y <- matrix(x, nrow = 1)
  cox_reid <- dispCoxReid(y, design = matrix(1, length(x)), offset = matrix(offset, 1),
                          min.row.sum = 0, interval = c(0, 30), tol = 1e-10)
  list(
    nb_log_likelihood = nb$loglik, nb_theta = nb$theta, nb_log_scale = nb$scale,
    zinb_log_likelihood = zinb$loglik, zinb_theta = zinb$theta,
    zinb_log_scale = unname(zinb$coefficients$count),
    zinb_zero_probability = plogis(unname(zinb$coefficients$zero)),
    cox_reid_theta = 1 / cox_reid
  )
}

versions <- sapply(c("MASS", "pscl", "edgeR"), function(p) as.character(packageVersion(p)))
versions <- c(R = paste(R.version$major, R.version$minor, sep = "."), versions)
genes <- lapply(as.list(data[, -1]), fit_gene)
cat(jsonlite::toJSON(list(versions = as.list(versions), genes = genes),
                     auto_unbox = TRUE, digits = 15, pretty = TRUE), "\n")
