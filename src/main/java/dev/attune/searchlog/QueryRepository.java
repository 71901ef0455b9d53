package dev.attune.searchlog;

import java.util.Collection;
import java.util.List;
import java.util.Optional;
import org.springframework.data.domain.Limit;
import org.springframework.data.domain.ScrollPosition;
import org.springframework.data.domain.Window;
import org.springframework.data.jpa.repository.Query;
import org.springframework.data.repository.Repository;

interface QueryRepository extends Repository<QueryRow, String> {

  Optional<QueryRow> findById(String queryId);

  List<QueryRow> findByQueryIdIn(Collection<String> queryIds);

  Window<QueryRow> findFirst500ByUserIdOrderByAskedAtAscQueryIdAsc(String userId, ScrollPosition position);

  @Query("select q from QueryRow q where q.userId = ?1 and q.text <> '' order by q.askedAt desc, q.queryId")
  List<QueryRow> newest(String userId, Limit limit);

  @Query(
      "select q from QueryRow q where q.userId = ?1 and q.sessionId = ?2 and q.text <> ''"
          + " order by q.askedAt desc, q.queryId")
  List<QueryRow> newestOfSession(String userId, String sessionId, Limit limit);
}
